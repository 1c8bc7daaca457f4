"""(script, options, environment, API version) -> the body of job/submit. Command line over environment over script."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from gateway.client.submit.description import body, describe, environment_field
from gateway.client.submit.script import Script
from gateway.client.submit.table import Option
from gateway.client.submit.words import Given
from gateway.client.trouble import Exit, Trouble, printable

_PATH = "/usr/local/bin:/usr/bin:/bin"
_FIRST_WITH_ARGUMENTS = 39
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CARRIED = frozenset(
    {
        "account",
        "begin",
        "chdir",
        "comment",
        "container",
        "container-id",
        "deadline",
        "delay-boot",
        "dependency",
        "error",
        "export",
        "extra",
        "hold",
        "input",
        "job-name",
        "kill-on-invalid-dep",
        "mcs-label",
        "mem",
        "nice",
        "no-requeue",
        "oom-kill-step",
        "output",
        "prefer",
        "profile",
        "qos",
        "reboot",
        "reservation",
        "time",
        "time-min",
        "wckey",
    }
)
"""What a component of a heterogeneous job takes over from the one before (measured on 20.11 to 26.05)."""
_NO_CHOICE = frozenset({"", "0", "no", "false"})


@dataclass(frozen=True, slots=True)
class Submission:
    """All that a submission is made of, before an API version is known."""

    script: Script
    name: str
    arguments: tuple[str, ...]
    typed: tuple[Given, ...]
    environ: Mapping[str, str]
    options: Mapping[str, Option]

    def given(self, component: int) -> list[Given]:
        """In the order in which sbatch takes them: the last word counts.

        The environment and the command line are the first component's of a heterogeneous job; a
        later one has what sbatch leaves of the one before it, and its own lines over that.
        """
        own = self.script.components[component]
        if component:
            before = self.given(component - 1)
            return [*(one for one in before if one.option.name in _CARRIED), *own]
        return [*own, *from_environment(self.options, self.environ), *self.typed]

    def has(self, name: str) -> bool:
        """Whether an option of the client's own was given."""
        return any(one.option.name == name for one in self.given(0))


def from_environment(options: Mapping[str, Option], environ: Mapping[str, str]) -> Iterator[Given]:
    """SBATCH_* variables. One for a flag means yes by being there, as in sbatch."""
    for option in options.values():
        if option.variable and option.variable in environ:
            value = environ[option.variable]
            if option.argument != "none":
                yield Given(option, value, option.variable)
            elif value.lower() not in _NO_CHOICE:
                yield Given(option, "", option.variable)


def assemble(submission: Submission, version: int, now: float) -> dict[str, Any]:
    """The body. Raises Trouble."""
    components: list[dict[str, Any]] = []
    for number in range(len(submission.script.components)):
        given = submission.given(number)
        job = describe(given, version, now)
        job.setdefault("name", submission.name)
        if number:
            job.setdefault("current_working_directory", components[0]["current_working_directory"])
        _require_folder(job)
        job["environment"] = environment_field(exported(given, submission.environ), version)
        _add_arguments(job, submission, version)
        components.append(job)
    return body(submission.script.text, components)


def _add_arguments(job: dict[str, Any], submission: Submission, version: int) -> None:
    """slurmrestd 22.05 ends when it is given `argv` (measured); so nothing up to v0.0.38 gets it."""
    if version >= _FIRST_WITH_ARGUMENTS:
        job["argv"] = [submission.name, *submission.arguments]
    elif submission.arguments:
        raise Trouble(
            Exit.UNFIT_DATA,
            f"API v0.0.{version} takes no arguments for a script.",
            "hand them over as variables: --export=NAME=VALUE",
        )


def _require_folder(job: Mapping[str, Any]) -> None:
    if "current_working_directory" not in job:
        raise Trouble(
            Exit.UNFIT_DATA,
            "The folder in which the job is to run is not known: this machine's is not the cluster's.",
            "name one of the cluster's with --chdir, #SBATCH --chdir or SLURM_GATEWAY_CHDIR",
        )


def exported(given: Sequence[Given], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of --export: by default a PATH alone, because this machine is not the cluster. Raises Trouble."""
    wish = next((one for one in reversed(given) if one.option.name == "export"), None)
    variables = {"PATH": _PATH}
    for word in _split(wish.text) if wish else ():
        name, equals, value = word.partition("=")
        if name.upper() == "ALL" and not equals:
            variables |= environ
        elif name.upper() in ("NONE", "NIL") and not equals:
            continue
        elif not _NAME.fullmatch(name):
            place = wish.place if wish else ""
            raise Trouble(
                Exit.UNFIT_DATA,
                f"{place}: --export: {printable(name, 40)!r} is no variable's name.",
            )
        elif equals:
            variables[name] = value.strip("'\"")
        elif name in environ:
            variables[name] = environ[name]
    return variables


def _split(text: str) -> list[str]:
    """At commas, but for those in quotation marks."""
    return [word for word in re.findall(r"(?:[^,'\"]|'[^']*'|\"[^\"]*\")+", text) if word.strip()]


def script_name(path: str) -> str:
    """As sbatch calls a job: the script's file, without its folder."""
    return PurePath(path).name or "sbatch"
