"""The configuration's models -> the commented part of gateway.toml, and its page in the docs.

`python -m gateway.config.reference` writes both anew from a checkout.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.gateway import Gateway
from gateway.config.shape import below, describe, discriminator_of, fields_of, key_of, walk

MARKER = "# ==== Every setting"
_WIDTH = 100

_EXAMPLES = {
    "server.listen": '"0.0.0.0:8443"',
    "server.public_url": '"https://slurm.example.org"',
    "server.cluster": '"example"',
    "server.state_directory": '"/var/lib/slurm-gateway"',
    "server.tls_certificate_file": '"/etc/slurm-gateway/tls.crt"',
    "server.tls_key_file": '"/etc/slurm-gateway/tls.key"',
    "server.forward_auth_listen": '"unix:/run/slurm-gateway/forward-auth.sock"',
    "store.address": '"tls:store.example.org:6379"',
    "store.user": '"slurm-gateway"',
    "store.password_file": '"/etc/slurm-gateway/store.password"',
    "store.ca_file": '"/etc/ssl/certs/store-ca.pem"',
    "store.certificate_file": '"/etc/slurm-gateway/store.crt"',
    "store.key_file": '"/etc/slurm-gateway/store.key"',
    "authenticate.deny_list_file": '"/etc/slurm-gateway/deny.toml"',
    "authenticate.issuers.issuer": '"https://idp.example.org"',
    "authenticate.issuers.audiences": '["https://slurm.example.org"]',
    "authenticate.issuers.cli_client_id": '"slurm-cli"',
    "authenticate.issuers.jwks_url": '"https://idp.example.org/keys"',
    "authenticate.issuers.jwks_file": '"/etc/slurm-gateway/keys.json"',
    "authenticate.issuers.ca_file": '"/etc/ssl/certs/idp-ca.pem"',
    "authenticate.issuers.required_claims": "{ email_verified = true }",
    "authenticate.issuers.groups_claim": '"groups"',
    "authenticate.issuers.groups_separator": '","',
    "sign_in.encryption_key_file": '"/etc/slurm-gateway/sessions.key"',
    "sign_in.clients.name": '"campus"',
    "sign_in.clients.title": '"Example University"',
    "sign_in.clients.issuer": '"https://idp.example.org"',
    "sign_in.clients.client_id": '"slurm-gateway"',
    "sign_in.clients.client_secret_file": '"/etc/slurm-gateway/campus.secret"',
    "sign_in.clients.private_key_file": '"/etc/slurm-gateway/campus.key"',
    "sign_in.clients.metadata_url": '"https://idp.example.org/.well-known/openid-configuration"',
    "map_user.rules.issuer": '"https://idp.example.org"',
    "map_user.rules.claim": '"preferred_username"',
    "map_user.rules.pattern": '"[a-z][a-z0-9]{2,7}"',
    "map_user.rules.bind": '"first-use"',
    "map_user.rules.table_file": '"/etc/slurm-gateway/users.toml"',
    "map_user.rules.fixed_user": '"ci"',
    "map_user.roles.issuer": '"https://idp.example.org"',
    "map_user.roles.role": '"operator"',
    "map_user.roles.when": '{ groups = "hpc-operators" }',
    "authorize.roles.allow": '["READ-ACCOUNTING", "POST /slurm/*/reservation"]',
    "authorize.roles.forbid_fields": '["reboot", "spank_environment", "x11"]',
    "authorize.roles.require_fields": '["time_limit"]',
    "authorize.roles.force_fields": '{ comment = "through the gateway" }',
    "authorize.roles.maximum": "{ time_limit = 1440, nodes = 4, array = 1000 }",
    "authorize.roles.only_values": '{ partition = ["debug", "batch"] }',
    "authorize.roles.networks": '["10.0.0.0/8", "2001:db8::/32"]',
    "authorize.roles.times": '["Mon-Fri 08:00-18:00"]',
    "authorize.roles.maximum_token_seconds": "900.0",
    "authorize.roles.acr_values": '["urn:example:second-factor"]',
    "authorize.roles.maximum_authentication_seconds": "900.0",
    "authorize.step_up.operations": '["JOB-WRITE-BULK", "POST /slurm/*/reservation"]',
    "authorize.step_up.acr_values": '["urn:example:second-factor"]',
    "authorize.step_up.maximum_authentication_seconds": "900.0",
    "authorize.roles.forbid_environment": '["LD_*"]',
    "credential.key_file": '"/etc/slurm/jwt_hs256.key"',
    "credential.token_file": '"/run/slurm-gateway/{user}.token"',
    "forward.upstream": '"http://127.0.0.1:6820"',
    "audit.sinks.address": '"tls:syslog.example.org:6514"',
    "audit.sinks.ca_file": '"/etc/ssl/certs/syslog-ca.pem"',
    "audit.sinks.certificate_file": '"/etc/slurm-gateway/syslog.crt"',
    "audit.sinks.key_file": '"/etc/slurm-gateway/syslog.key"',
    "audit.sinks.path": '"/var/log/slurm-gateway/audit.jsonl"',
}
"""What stands in the file where a setting has no default."""

_NAMES = {"authorize.roles": "operator"}
"""The name that a table of named sections shows."""


class Entry(NamedTuple):
    """One setting as both documents show it. `default` is empty where there is none."""

    name: str
    value: str
    default: str
    kind: str
    sentence: str


def settings_text() -> str:
    """All settings below a heading for each section, every line a comment."""
    lines: list[str] = []
    for path, here in walk((Gateway,)):
        for model in here.models:
            lines += _section_lines(path, here.container, model)
    return "\n".join(lines) + "\n"


def _section_lines(path: Sequence[str], container: str, model: type[BaseModel]) -> Iterator[str]:
    entries = list(entries_of(path, model))
    if not entries:
        return
    yield ""
    yield f"# {heading(path, container)}{_choice(model)}"
    for text in _wrap(_docstring(model)):
        yield f"#   {text}"
    for entry in entries:
        yield from (f"#   {text}" for text in _wrap(entry.sentence))
        yield f"#{entry.name} = {entry.value}"


def heading(path: Sequence[str], container: str) -> str:
    """[server], [[map_user.rules]], [authorize.roles.operator]."""
    dotted = ".".join(path)
    if container == "named":
        return f"[{dotted}.{_NAMES[dotted]}]"
    return f"[[{dotted}]]" if container == "array" else f"[{dotted}]"


def _choice(model: type[BaseModel]) -> str:
    chosen = discriminator_of(model)
    return f' with {chosen[0]} = "{chosen[1]}"' if chosen else ""


def _docstring(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _wrap(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + len(word) > _WIDTH - 5:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    if line:
        yield line


def entries_of(path: Sequence[str], model: type[BaseModel]) -> Iterator[Entry]:
    """The settings of one section that are not sections themselves."""
    for name, field in model.model_fields.items():
        if below(field.annotation).models:
            continue
        key = key_of(name, field)
        default = _default(model, name, field)
        example = _EXAMPLES.get(".".join((*path, key)), "")
        yield Entry(
            key,
            example if default in ("", "[]", "{}") and example else default,
            default,
            describe(field.annotation),
            " ".join((field.description or "").split()),
        )


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    chosen = discriminator_of(model)
    if chosen and chosen[0] == name:
        return toml_value(chosen[1])
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if default is None:
        return ""
    return "0o660" if name == "socket_mode" else toml_value(default)


def toml_value(value: Any) -> str:
    """A default as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Enum() | str() | Path():
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
        case tuple() | list():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            inner = ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case _:
            return str(value)


def settings_page() -> str:
    """docs/reference/configuration.md."""
    lines = [
        "# Configuration reference",
        "",
        "Made from the models in `gateway/config/` by `python -m gateway.config.reference`.",
        "Unknown keys stop the start; `slurm-gateway check` prints every mistake at once.",
        "",
        "Each setting can also be given as an environment variable, which goes over the file:",
        "`SLURM_GATEWAY__SECTION__NAME`, such as `SLURM_GATEWAY__SERVER__LISTEN`. Dashes become",
        "underscores; arrays and tables are written as JSON. Secrets are files only.",
    ]
    for path, here in walk((Gateway,)):
        for model in here.models:
            lines += _page_section(path, here.container, model)
    return "\n".join(lines) + "\n"


def _page_section(path: Sequence[str], container: str, model: type[BaseModel]) -> Iterator[str]:
    entries = list(entries_of(path, model))
    if not entries:
        return
    yield from ("", f"## `{heading(path, container)}`{_choice(model)}", "", _docstring(model), "")
    yield "| setting | type | default | |"
    yield "|---|---|---|---|"
    required = {key_of(n, f) for n, f in model.model_fields.items() if f.is_required()}
    for entry in entries:
        default = f"`{entry.default}`" if entry.default else "none"
        shown = "**required**" if entry.name in required else default
        yield f"| `{entry.name}` | {_cell(entry.kind)} | {shown} | {_cell(entry.sentence)} |"


def _cell(text: str) -> str:
    return re.sub(r"([|<])", r"\\\1", text)


def known_settings() -> set[str]:
    """Every setting by its dotted name, for whoever holds documents against the models."""
    return {
        ".".join((*path, key))
        for path, here in walk((Gateway,))
        for key, field in fields_of(here.models).items()
        if not below(field.annotation).models
    }


def write_both(checkout: Path) -> None:
    """Write the second part of config/gateway.toml and the page, from the models."""
    file = checkout / "config" / "gateway.toml"
    minimal = file.read_text("utf-8").partition(MARKER)[0]
    intro = file.read_text("utf-8").partition(MARKER)[2].partition("\n\n")[0]
    file.write_text(f"{minimal}{MARKER}{intro}\n{settings_text()}", "utf-8")
    page = checkout / "docs" / "reference" / "configuration.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(settings_page(), "utf-8")


if __name__ == "__main__":
    write_both(Path.cwd())
