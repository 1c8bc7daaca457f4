"""(sections that are valid each by itself) -> where they contradict each other, and what to think over."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel

from gateway.config.audit import Audit, FileSink
from gateway.config.authenticate import Authenticate
from gateway.config.authorize import Authorize
from gateway.config.credential import Attach, Mint, Passthrough
from gateway.config.forward import Forward
from gateway.config.gateway import Gateway
from gateway.config.map_user import MapUser, UserRule
from gateway.config.problem import Problem, suggest
from gateway.config.receive import Receive
from gateway.config.section import is_loopback_host
from gateway.config.server import Server

MUTABLE_CLAIMS = frozenset(
    {"email", "name", "nickname", "preferred_username", "unique_name", "upn", "username"}
)
"""Claims that a provider may give to somebody else later (OpenID Connect Core section 5.7)."""


def find_contradictions(sections: Mapping[str, BaseModel]) -> list[Problem]:
    """Mistakes that no section can see alone; a section that is missing here was invalid itself."""
    found: list[Problem] = []
    match sections:
        case {"server": Server() as server}:
            found += _server(server)
    match sections:
        case {"map_user": MapUser() as users, "authenticate": Authenticate() as authenticate}:
            found += _rules_name_issuers(users, authenticate)
    match sections:
        case {"map_user": MapUser() as users, "authorize": Authorize() as authorize}:
            found += _rules_name_roles(users, authorize)
    match sections:
        case {"map_user": MapUser() as users, "credential": credential}:
            found += _credential(users, credential)
    match sections:
        case {"audit": Audit() as audit}:
            found += _sinks(audit)
    match sections:
        case {"receive": Receive() as receive}:
            found += _body_caps(receive)
    return found


def _server(server: Server) -> Iterator[Problem]:
    if urlsplit(server.public_url).path not in ("", "/"):
        yield Problem("server.public_url", "has a path", "give the scheme, host and port only")
    if server.operations_listen == server.listen:
        remedy = "/metrics and /readyz never stand on the public listener; choose another port"
        yield Problem("server.operations_listen", "is the same as server.listen", remedy)


def _rules_name_issuers(users: MapUser, authenticate: Authenticate) -> Iterator[Problem]:
    known = [issuer.issuer for issuer in authenticate.issuers]
    named = [(f"rules[{index}]", rule.issuer) for index, rule in enumerate(users.rules)]
    named += [(f"roles[{index}]", rule.issuer) for index, rule in enumerate(users.roles)]
    for place, issuer in named:
        if issuer not in known:
            what = f"{issuer} is none of authenticate.issuers (compared byte for byte)"
            yield Problem(f"map_user.{place}.issuer", what, suggest(issuer, known))


def _rules_name_roles(users: MapUser, authorize: Authorize) -> Iterator[Problem]:
    for index, rule in enumerate(users.roles):
        if rule.role not in authorize.roles:
            remedy = f"add [authorize.roles.{rule.role}], or {suggest(rule.role, authorize.roles)}"
            yield Problem(f"map_user.roles[{index}].role", f"{rule.role} is no role", remedy)


def _credential(users: MapUser, credential: object) -> Iterator[Problem]:
    match credential:
        case Mint(include_ids=True) if not users.must_exist:
            remedy = "ids come from NSS: set map_user.must_exist = true"
            yield Problem("credential.include_ids", "needs the user's uid", remedy)
        case Attach(impersonate=True) as attach if _names_user(attach):
            remedy = "SlurmUser's token is one for all: remove {user}, or impersonate"
            yield Problem("credential.impersonate", "does not go with {user}", remedy)


def _names_user(attach: Attach) -> bool:
    return any("{user}" in text for text in (str(attach.token_file), *attach.command))


def _sinks(audit: Audit) -> Iterator[Problem]:
    seen: set[object] = set()
    for index, sink in enumerate(audit.sinks):
        name = sink.path if isinstance(sink, FileSink) else sink.type
        if name in seen:
            yield Problem(f"audit.sinks[{index}]", f"{name} stands twice", "remove one of them")
        seen.add(name)


def _body_caps(receive: Receive) -> Iterator[Problem]:
    for operation, cap in receive.maximum_body_bytes_by_operation.items():
        if cap > receive.maximum_body_bytes:
            place = f'receive.maximum_body_bytes_by_operation."{operation}"'
            yield Problem(place, f"{cap} is more than maximum_body_bytes", "caps are smaller")


def find_doubts(gateway: Gateway) -> list[Problem]:
    """What is permitted but should be meant: said by `check` and at every start."""
    return [
        *_doubt_server(gateway.server),
        *_doubt_issuers(gateway),
        *_doubt_rules(gateway.map_user),
        *_doubt_roles(gateway),
        *_doubt_credential(gateway),
        *_doubt_forward(gateway.forward),
        *_doubt_paths(gateway),
    ]


def _doubt_server(server: Server) -> Iterator[Problem]:
    if server.insecure_http:
        what = "tokens may cross the network in the clear"
        yield Problem("server.insecure_http", what, "set tls_certificate_file and tls_key_file")
    listen = server.operations_listen or "unix:"
    host = listen.rpartition(":")[0].strip("[]")
    if not listen.startswith("unix:") and not is_loopback_host(host):
        what = f"{listen} answers whoever reaches it, without a token"
        yield Problem("server.operations_listen", what, "let only the monitoring reach it")
    if server.public_url.startswith("http://"):
        yield Problem("server.public_url", "is not https", "clients should use TLS")


def _doubt_issuers(gateway: Gateway) -> Iterator[Problem]:
    mapped = {rule.issuer for rule in gateway.map_user.rules}
    for index, issuer in enumerate(gateway.authenticate.issuers):
        place = f"authenticate.issuers[{index}]"
        if issuer.issuer not in mapped:
            what = f"no rule maps the tokens of {issuer.issuer}: they all get 403"
            yield Problem(place, what, "add a [[map_user.rules]] with this issuer")
        if issuer.accept_id_tokens:
            what = "ID tokens say who signed in at a client, not what a client may do here"
            yield Problem(f"{place}.accept_id_tokens", what, "prefer access tokens")


def _doubt_rules(users: MapUser) -> Iterator[Problem]:
    final: dict[str, int] = {}
    for index, rule in enumerate(users.rules):
        place = f"map_user.rules[{index}]"
        if rule.issuer in final:
            what = f"is never reached: rules[{final[rule.issuer]}] takes every token of the issuer"
            yield Problem(place, what, "move it up, or give the other one a `when`")
        elif not rule.when:
            final[rule.issuer] = index
        if _is_mutable(rule):
            what = f"{rule.claim} can pass from one person to another at the provider"
            yield Problem(place, what, 'add bind = "first-use", or map by sub in a table_file')
    if not users.must_exist:
        what = "users are not looked up, so minimum_uid is not checked either"
        yield Problem(
            "map_user.must_exist", what, "jobs of users Slurm does not know wait for ever"
        )
    if "root" not in users.forbidden_users:
        yield Problem("map_user.forbidden_users", "does not name root", "add root and SlurmUser")


def _is_mutable(rule: UserRule) -> bool:
    return rule.claim in MUTABLE_CLAIMS and rule.bind is None


def _doubt_roles(gateway: Gateway) -> Iterator[Problem]:
    given = {"user", *(rule.role for rule in gateway.map_user.roles)}
    for role in gateway.authorize.roles:
        if role not in given:
            what = "nobody has this role"
            yield Problem(f"authorize.roles.{role}", what, "add a [[map_user.roles]] that gives it")


def _doubt_credential(gateway: Gateway) -> Iterator[Problem]:
    match gateway.credential:
        case Attach(impersonate=True):
            what = "one SlurmUser token acts as everybody: whoever steals it has the cluster"
            yield Problem("credential.impersonate", what, 'prefer provider = "mint"')
        case Attach() as attach if not _names_user(attach):
            what = "one token without {user} serves its own user only; others get 403"
            yield Problem("credential", what, "put {user} into token_file or command")
        case Passthrough():
            what = "Slurm checks neither audience nor issuer of the caller's token"
            remedy = "let slurmrestd be reached through this gateway only"
            yield Problem("credential.provider", what, remedy)
            yield from _doubt_passthrough_algorithms(gateway)
        case _:
            return


def _doubt_passthrough_algorithms(gateway: Gateway) -> Iterator[Problem]:
    for index, issuer in enumerate(gateway.authenticate.issuers):
        if issuer.algorithms != ("RS256",):
            place = f"authenticate.issuers[{index}].algorithms"
            yield Problem(place, "Slurm takes RS256 only", 'passthrough needs ["RS256"]')


def _doubt_forward(forward: Forward) -> Iterator[Problem]:
    host = urlsplit(forward.upstream).hostname
    if host is not None and not is_loopback_host(host):
        what = "Slurm tokens cross the network to slurmrestd in the clear"
        yield Problem("forward.upstream", what, "run the gateway on slurmrestd's host")


def _doubt_paths(gateway: Gateway) -> Iterator[Problem]:
    server, credential = gateway.server, gateway.credential
    paths = {
        "server.state_directory": server.state_directory,
        "server.tls_certificate_file": server.tls_certificate_file,
        "server.tls_key_file": server.tls_key_file,
        "authenticate.deny_list_file": gateway.authenticate.deny_list_file,
        "credential.key_file": credential.key_file if isinstance(credential, Mint) else None,
    }
    for place, path in paths.items():
        if path is not None and not Path(path).is_absolute():
            what = f"{path} depends on the directory that the gateway is started in"
            yield Problem(place, what, "write the whole path")
