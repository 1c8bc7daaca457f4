"""[sign_in] -> whether its key and secrets can be used, and whether each provider can do what is asked of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.app_sign_in import CALLBACK_PATH, make_provider
from gateway.commands.reporting import Findings
from gateway.config.authorize import Authorize
from gateway.config.gateway import Gateway
from gateway.config.sign_in import SignInClient
from gateway.edges.edited_file import FileUnusable
from gateway.edges.provider_metadata import Endpoints
from gateway.edges.sign_in_secrets import read_encryption_keys
from gateway.sign_in.provider import ProviderDoubt


async def check_sign_in(gateway: Gateway, environ: Mapping[str, str], findings: Findings) -> None:
    """Nothing where nobody can sign in with a browser."""
    section = gateway.sign_in
    if not section.clients or section.encryption_key_file is None:
        return
    findings.heading("Signing in with a browser")
    given = environ.get("CREDENTIALS_DIRECTORY")
    directory = Path(given) if given else None
    try:
        keys = read_encryption_keys(section.encryption_key_file, directory)
        count = f"{len(keys)} key{'' if len(keys) == 1 else 's'}"
        findings.good(f"{section.encryption_key_file} holds {count}")
    except FileUnusable as error:
        findings.bad(str(error))
    known: list[Endpoints] = []
    for client in section.clients:
        found = await _check_client(gateway, client, directory, findings)
        known += [found] if found else []
    if len(known) == len(section.clients):
        _check_acr(gateway.authorize, known, findings)


async def _check_client(
    gateway: Gateway, client: SignInClient, directory: Path | None, findings: Findings
) -> Endpoints | None:
    issuer = next(one for one in gateway.authenticate.issuers if one.issuer == client.issuer)
    origin = gateway.server.public_url.rstrip("/")
    try:
        endpoints = await make_provider(client, issuer, origin, directory).try_out()
    except (ProviderDoubt, OSError) as error:
        findings.bad(f"{client.name}: {error}", "nobody can sign in there")
        return None
    findings.good(f"{client.name}: people sign in at {endpoints.authorization}")
    findings.good(f"{client.name}: its redirect URI is {origin}{CALLBACK_PATH}{client.name}")
    if client.logout.startswith("rp-initiated") and not endpoints.end_session:
        what = f"{client.name}: the provider has no end_session_endpoint"
        findings.doubt(what, 'signing out ends the session here only; say so with logout = "none"')
    return endpoints


def _check_acr(authorize: Authorize, known: list[Endpoints], findings: Findings) -> None:
    """A list of theirs need not be whole (OpenID Connect Discovery section 3), so this is a doubt."""
    if any(one.acr_values is None for one in known):
        return
    offered = frozenset[str]().union(*(one.acr_values or () for one in known))
    for place, wanted in _wanted(authorize):
        if wanted and not offered & set(wanted):
            what = f"{place}: no provider lists any of {', '.join(wanted)}"
            findings.doubt(what, f"acr_values_supported: {', '.join(sorted(offered)) or 'none'}")


def _wanted(authorize: Authorize) -> Iterator[tuple[str, tuple[str, ...]]]:
    for index, rule in enumerate(authorize.step_up):
        yield f"authorize.step_up[{index}].acr_values", rule.acr_values
    for name, role in authorize.roles.items():
        yield f"authorize.roles.{name}.acr_values", role.acr_values
