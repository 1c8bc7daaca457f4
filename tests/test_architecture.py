"""The house's rules that a machine can hold: layout, imports, and that every refusal is reached."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.gateway import Gateway
from gateway.denial import Reason

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "gateway").rglob("*.py"))


def test_imports_run_one_way() -> None:
    """In a process of its own: the linter switches off every logger that exists."""
    linter = Path(sys.executable).with_name("lint-imports")
    command = [str(linter), "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_sections_of_the_configuration_are_the_stages_in_order() -> None:
    sections = list(Gateway.model_fields)
    assert sections == [
        "server",
        "store",
        "receive",
        "authenticate",
        "sign_in",
        "map_user",
        "authorize",
        "limit",
        "credential",
        "idempotency",
        "cache",
        "forward",
        "audit",
    ]
    stages = {path.stem for path in (ROOT / "gateway/stages").glob("*.py")} - {"__init__"}
    assert set(sections) - {"server", "store", "sign_in"} <= stages


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_opens_with_what_it_is_and_stays_readable(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no opening sentence"
    assert text.count("\n") <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 45, f"{node.name} is too long"


def test_every_refusal_is_raised_somewhere_and_reached_by_a_test() -> None:
    raised = "\n".join(path.read_text() for path in SOURCES if path.name != "denial.py")
    tested = "\n".join(
        path.read_text()
        for path in (ROOT / "tests").rglob("*")
        if path.suffix in (".py", ".toml") and path.name != "test_architecture.py"
    )
    assert [reason.name for reason in Reason if f"Reason.{reason.name}" not in raised] == []
    reached = [
        reason
        for reason in Reason
        if f"Reason.{reason.name}" not in tested and f'"{reason.code}"' not in tested
    ]
    assert [reason.name for reason in reached] == []


def test_the_library_of_the_store_is_imported_only_where_there_is_one() -> None:
    """It would cost every other gateway 6 MB."""
    code = "import sys, gateway.commands.serve; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
