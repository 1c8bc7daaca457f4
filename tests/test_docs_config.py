"""config/gateway.toml and the reference page say what the models say."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.config.gateway import Gateway
from gateway.config.load import load, validate
from gateway.config.reference import MARKER, known_settings, settings_page, settings_text
from gateway.config.shape import below, walk
from lab.toml_text import merged
from tests.configurations import MINIMAL

ROOT = Path(__file__).parent.parent
FILE = ROOT / "config/gateway.toml"
_SETTING = re.compile(r"#([a-z_-]+ = .+)")
_HEADING = re.compile(r'# (\[.+?\]+)(?: with (\w+) = "(\w+)")?')


def second_part() -> str:
    return FILE.read_text().partition(MARKER)[2].partition("\n\n")[2]


def uncommented() -> list[tuple[str, str, dict[str, Any]]]:
    """Every section of the second part: its heading, its variant, its settings without the `#`."""
    found: list[tuple[str, str, list[str]]] = []
    for line in second_part().splitlines():
        if heading := _HEADING.fullmatch(line):
            found.append((heading[1], heading[3] or "", []))
        elif setting := _SETTING.fullmatch(line):
            found[-1][2].append(setting[1])
    return [(name, variant, tomllib.loads("\n".join(lines))) for name, variant, lines in found]


def nested(heading: str, content: dict[str, Any]) -> dict[str, Any]:
    """[[map_user.rules]] and its settings as the file would give them."""
    value: Any = [content] if heading.startswith("[[") else content
    for name in reversed(heading.strip("[]").split(".")):
        value = {name: value}
    result: dict[str, Any] = value
    return result


def test_the_first_part_is_a_whole_configuration_as_it_stands() -> None:
    gateway = load(FILE, {})
    assert gateway.server.cluster == "example"


def test_the_second_part_is_all_comment() -> None:
    lines = FILE.read_text().partition(MARKER)[2].splitlines()[1:]
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_both_documents_are_as_the_models_make_them() -> None:
    """`python -m gateway.config.reference` writes them anew."""
    assert second_part() == settings_text().lstrip("\n")
    assert (ROOT / "docs/reference/configuration.md").read_text() == settings_page()


@pytest.mark.parametrize("setting", sorted(known_settings()))
def test_every_setting_stands_in_the_file_with_a_sentence(setting: str) -> None:
    section, _, name = setting.rpartition(".")
    headings = (f"# [{section}]", f"# [[{section}]]", f"# [{section}.operator]")
    text = second_part()
    assert any(
        re.search(rf"#   .+\n#{name} = ", block)
        for block in text.split("\n\n")
        if block.startswith(headings)
    )


@pytest.mark.parametrize("provider", ["mint", "attach", "passthrough"])
@pytest.mark.parametrize("source", ["claim", "table_file", "fixed_user"])
def test_uncommenting_everything_gives_a_valid_configuration(provider: str, source: str) -> None:
    """As far as settings go together: one strategy, one source of a rule, one place of the keys."""
    settings: dict[str, Any] = {}
    for heading, variant, content in uncommented():
        if heading == "[credential]" and variant != provider:
            continue
        if heading == "[[audit.sinks]]" and variant != "file":
            continue
        settings = merged(settings, nested(heading, content))
    rule = settings["map_user"]["rules"][0]
    for name in {"claim", "table_file", "fixed_user"} - {source}:
        del rule[name]
    if source != "claim":
        for name in ("strip_domain", "lowercase", "pattern", "bind"):
            rule.pop(name)
    rule["when"] = {"client_id": "ci"}
    settings["authenticate"]["issuers"][0].pop("jwks_file")
    settings["sign_in"]["clients"][0].pop("private_key_file")
    if provider == "passthrough":
        del settings["sign_in"]
    assert isinstance(validate(settings), Gateway)


def test_a_default_in_the_file_is_the_default_of_the_model() -> None:
    """Adding what is only a default changes nothing."""
    plain = load(FILE, {})
    raw = tomllib.loads(FILE.read_text())
    for heading, _, content in uncommented():
        if heading in ("[receive]", "[limit]", "[limit.rates]"):
            raw = merged(raw, nested(heading, content))
    assert validate(raw) == plain


def test_every_setting_has_a_docstring() -> None:
    missing = [
        f"{'.'.join(path)}.{name}"
        for path, here in walk((Gateway,))
        for model in here.models
        for name, field in model.model_fields.items()
        if not field.description and not below(field.annotation).models
    ]
    assert missing == []


_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (page, number, block)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, block in enumerate(_TOML.findall(page.read_text()), 1)
]


@pytest.mark.parametrize(
    ("page", "number", "block"),
    EXAMPLES,
    ids=[f"{page.stem}-{number}" for page, number, _ in EXAMPLES],
)
def test_an_example_in_the_documents_is_valid(page: Path, number: int, block: str) -> None:
    """Laid over the least that is; the pages on providers are held elsewhere."""
    assert isinstance(validate(merged(MINIMAL, tomllib.loads(block))), Gateway)
