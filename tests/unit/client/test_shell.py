"""The manual page and the completions are made of the commands themselves, and shells take them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.client.manual import render
from gateway.client.trouble import MEANINGS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/man/slurm-gateway.1"
PROGRAM = Path(sys.executable).with_name("slurm-gateway")


def test_the_page_is_what_the_commands_say() -> None:
    page = PAGE.read_text("utf-8")
    assert page == render(main), "run: slurm-gateway manual > docs/man/slurm-gateway.1"
    assert CliRunner().invoke(main, ["manual"]).output == page


def test_the_page_names_every_command_every_option_and_every_exit_code() -> None:
    page = PAGE.read_text("utf-8").replace("\\-", "-")
    for name, command in main.commands.items():
        assert f".SS slurm-gateway {name}\n" in page
        options = [one for one in command.params if isinstance(one, click.Option)]
        for option in options:
            assert all(word in page for word in option.opts), (name, option.opts)
    whole = " ".join(page.split())
    for code, meaning in MEANINGS.items():
        assert f".B {int(code)} {meaning}" in whole


def test_no_line_of_the_page_is_a_request_by_mistake() -> None:
    known = {".TH", ".SH", ".SS", ".B", ".I", ".BR", ".PP", ".TP", ".nf", ".fi"}
    lines = PAGE.read_text("utf-8").splitlines()
    requests = {line.split()[0] for line in lines if line.startswith((".", "'"))}
    assert requests <= known
    assert not [line for line in lines if re.search(r"(?<!\\)\\(?![e(&-])", line)]


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_the_page_without_a_warning() -> None:
    command = ["man", "--warnings=w", "--encoding=UTF-8", "--local-file", str(PAGE)]
    environ = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"}
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "slurm-gateway run-folder" in shown.stdout


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_finds_nothing_to_say() -> None:
    found = subprocess.run(["mandoc", "-Tlint", PAGE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_what_is_typed(tmp_path: Path) -> None:
    """Its completion widgets run in a terminal only: what they call is called, and that they are there is looked at."""
    typed = (
        "autoload -Uz compinit && compinit -u -D\n"
        'eval "$(slurm-gateway completion zsh)"\n'
        "print -r -- $_comps[slurm-gateway]\n"
        'COMP_WORDS="slurm-gateway run-folder --at" COMP_CWORD=2'
        " _SLURM_GATEWAY_COMPLETE=zsh_complete slurm-gateway\n"
    )
    environ = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["zsh", "-f", "-c", typed], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "_slurm_gateway_completion"
    assert "--at-once" in done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_what_is_typed(tmp_path: Path) -> None:
    typed = "slurm-gateway completion fish | source; complete -C 'slurm-gateway run-folder --at'"
    environ = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    command = ["fish", "--no-config", "-c", typed]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("--at-once\t"), done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert "_SLURM_GATEWAY_COMPLETE" in done.stdout
    if path := shutil.which(shell):
        checked = subprocess.run(
            [path, "-n"], input=done.stdout, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("jo", {"jobs", "job"}, {"submit"}),
        ("run", {"run-folder"}, {"jobs"}),
        ("jobs --p", {"--partition", "--profile"}, {"--states"}),
        ("run-folder --at", {"--at-once"}, {"--once"}),
        ("slurm-token --shell ", {"sh", "fish"}, {"zsh"}),
        ("completion ", {"bash", "zsh", "fish"}, {"sh"}),
        ("submit --dr", {"--dry-run"}, {"--json"}),
    ],
)
def test_bash_completes_what_is_typed(typed: str, offered: set[str], not_offered: set[str]) -> None:
    words = ["slurm-gateway", *typed.split(" ")]
    script = (
        f'eval "$({PROGRAM} completion bash)"\n'
        f"COMP_WORDS=({' '.join(map(repr, words))})\n"
        f"COMP_CWORD={len(words) - 1}\n"
        "known=$(complete -p slurm-gateway)\n"
        "known=${known#*-F }\n"
        f'"${{known%% *}}" {PROGRAM}\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert offered <= found, done
    assert not not_offered & found
