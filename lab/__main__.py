"""``python -m lab COMMAND`` -> exit code 0 done, 1 failed, 2 misused, 3 the machine lacks something."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from lab import machine, packages, places, releases, swagger_ui
from lab.fleet import bring_down, bring_up, forget_all, report
from lab.machine import MachineLacksError
from lab.processes import LabError
from lab.progress import Progress
from lab.rootfs import MovedError
from lab.slurm import SlurmRelease, all_releases

DONE, FAILED, LACKING = 0, 1, 3


def _chosen(names: Sequence[str]) -> list[SlurmRelease]:
    return [SlurmRelease.named(name) for name in names] if names else all_releases()


def _up(options: argparse.Namespace) -> int:
    return bring_up(_chosen(options.release))


def _prepare_tests(_: argparse.Namespace) -> int:
    machine.require()
    groups = ("nginx", "store", "systemd", "shells")
    needed = [package for group in groups for package in packages.GROUPS[group]]
    packages.install(needed, Progress("packages"))
    return bring_up(all_releases())


def _down(options: argparse.Namespace) -> int:
    return bring_down(_chosen(options.release), even_in_use=not options.unless_in_use)


def _status(options: argparse.Namespace) -> int:
    sys.stdout.write(report(_chosen(options.release)))
    return DONE


def _install_packages(options: argparse.Namespace) -> int:
    groups = [group for group in options.group if not _has(group)]
    if groups:
        machine.become_root(["install-packages", *groups])
    for group in groups:
        packages.install(packages.GROUPS[group], Progress("packages"))
    return DONE


def _has(group: str) -> bool:
    return machine.has_venv() if group == "venv" else packages.is_installed(packages.GROUPS[group])


def _step(options: argparse.Namespace) -> int:
    log = places.state_root() / "install.log"
    with Progress("make").step(options.text):
        packages.run_logged(options.arguments, log, dict(os.environ))
    return DONE


def _demo(options: argparse.Namespace) -> int:
    from lab.demo import demonstrate  # needs the virtual environment, the rest does not

    return demonstrate(once=options.once, port=options.port)


def _swagger_ui(options: argparse.Namespace) -> int:
    sys.stdout.write(f"swagger-ui-dist {swagger_ui.update(options.version)}\n")
    return DONE


def _clean(_: argparse.Namespace) -> int:
    return forget_all()


ELEVATED = (_demo, _down, _clean)
"""What an ordinary user with sudo need not type sudo for. Tests run as whoever runs them."""


def _parser() -> argparse.ArgumentParser:
    known = ", ".join(f"{release.suite} ({release.slurm})" for release in releases.releases())
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description="Real Slurm releases and a real OpenID provider on this machine's loopback.",
        epilog=f"RELEASE is one of {known}; all of them when none is named. State: {places.state_root()}",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    up = command("up", _up, "install and start releases, several at once")
    down = command("down", _down, "stop what up started, and nothing else")
    status = command("status", _status, "say what is installed, running, moved or missing")
    for each in (up, down, status):
        each.add_argument("release", nargs="*", metavar="RELEASE")
    down.add_argument(
        "--unless-in-use",
        action="store_true",
        help="leave it running for a demo or tests that use it",
    )
    command(
        "prepare-tests",
        _prepare_tests,
        "all that the tests need of this machine (run by make test)",
    )
    install = command(
        "install-packages", _install_packages, "install groups of Debian packages where missing"
    )
    install.add_argument("group", nargs="+", choices=sorted(packages.GROUPS))
    step = command(
        "step", _step, "run one long command quietly, with a sign of life every ten seconds"
    )
    step.add_argument("text", metavar="TEXT")
    step.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    demo = command("demo", _demo, "the whole way from a login to a finished job (run by make demo)")
    demo.add_argument(
        "--once", action="store_true", help="stop after the job and tell by the exit code"
    )
    demo.add_argument(
        "--port", type=int, default=8443, help="where the gateway listens (default: 8443)"
    )
    vendored = command(
        "swagger-ui", _swagger_ui, "replace the Swagger UI that the gateway serves by this version"
    )
    vendored.add_argument("version", metavar="VERSION", help='such as "5.35.0", or "latest"')
    command("clean", _clean, "stop everything and delete all state")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.run in ELEVATED:
            machine.become_root(sys.argv[1:] if arguments is None else arguments)
        return int(options.run(options))
    except MachineLacksError as lacking:
        sys.stderr.write(f"This machine lacks something:\n{lacking}\n")
        return LACKING
    except (LabError, MovedError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except LookupError as unknown:
        sys.stderr.write(f"{unknown.args[0]}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
