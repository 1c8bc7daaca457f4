"""The client stands on its own: what it imports, and what it says of itself."""

import ast
from pathlib import Path

import pytest

from gateway.client.trouble import MEANINGS, Exit

CLIENT = Path(__file__).parents[3] / "gateway/client"
SOURCES = sorted(CLIENT.rglob("*.py"))
LIBRARIES = {"authlib", "click", "filelock", "gateway", "httpx2", "keyring", "tabulate"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CLIENT)))
def test_it_imports_nothing_of_the_server_and_no_library_of_the_servers(path: Path) -> None:
    import sys

    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            root = name.partition(".")[0]
            assert root in LIBRARIES or root in sys.stdlib_module_names, name
            assert root != "gateway" or name.startswith("gateway.client"), name


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)
