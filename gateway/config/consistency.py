"""(sections that are valid each by itself) -> where they contradict each other, or name what is not there."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from urllib.parse import urlsplit

from pydantic import BaseModel

from gateway.config.audit import Audit, FileSink, Sink, StdoutSink, SyslogSink
from gateway.config.authenticate import Authenticate
from gateway.config.authorize import Authorize
from gateway.config.cache import Cache
from gateway.config.credential import Attach, Mint, Passthrough
from gateway.config.forward import Forward
from gateway.config.map_user import MapUser
from gateway.config.problem import Problem, suggest
from gateway.config.receive import Receive
from gateway.config.server import Server
from gateway.config.sign_in import SignIn
from gateway.config.step_up import find_impossible_rules, find_unknowable_acr
from gateway.config.store import Store
from gateway.slurm_api import Catalogue, read_catalogue
from gateway.slurm_api.kept import may_be_kept
from gateway.slurm_api.policy import parse_policy, read_names


def find_contradictions(sections: Mapping[str, BaseModel]) -> list[Problem]:
    """Mistakes that no section can see alone; a section that is missing here was invalid itself."""
    found: list[Problem] = []
    match sections:
        case {"server": Server() as listening}:
            found += _server(listening, sections)
    match sections:
        case {"map_user": MapUser() as users, "authenticate": Authenticate() as authenticate}:
            found += _rules_name_issuers(users, authenticate)
    match sections:
        case {"map_user": MapUser() as users, "authorize": Authorize() as authorize}:
            found += _rules_name_roles(users, authorize)
    match sections:
        case {"map_user": MapUser() as users, "credential": credential}:
            server = sections.get("server")
            hands_out = isinstance(server, Server) and server.forward_auth_listen is not None
            found += _credential(users, credential, hands_out)
    match sections:
        case {"sign_in": SignIn(clients=[_, *_]) as sign_in}:
            found += _sign_in(sign_in, sections)
    found += _sharing(sections)
    match sections:
        case {"audit": Audit() as audit}:
            found += _sinks(audit)
    catalogue = read_catalogue()
    found += _named_operations(sections, catalogue)
    match sections:
        case {"authorize": Authorize() as authorize}:
            found += (Problem(*one) for one in parse_policy(authorize.roles, catalogue)[1])
            for index, rule in enumerate(authorize.step_up):
                place = f"authorize.step_up[{index}].operations"
                found += (Problem(*one) for one in read_names(place, rule.operations, catalogue)[1])
            found += find_impossible_rules(authorize, catalogue)
            found += _acr(authorize, sections)
    return found


def _server(server: Server, sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    if urlsplit(server.public_url).path not in ("", "/"):
        yield Problem("server.public_url", "has a path", "give the scheme, host and port only")
    if server.operations_listen == server.listen and not server.listen.endswith(":0"):
        remedy = "/metrics and /readyz never stand on the public listener; choose another port"
        yield Problem("server.operations_listen", "is the same as server.listen", remedy)
    if server.workers > 1:
        yield from _workers(server.workers, sections)


def _workers(workers: int, sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    match sections:
        case {"store": Store(address=None)}:
            remedy = 'set store.address = "unix:/run/valkey/valkey.sock", or workers = 1'
            what = "several processes need a store for limits, sessions and keys"
            yield Problem("server.workers", what, remedy)
    match sections:
        case {"forward": Forward(connections=connections)} if connections < workers:
            remedy = "each worker needs one at least: raise it, or lower server.workers"
            yield Problem("forward.connections", f"{connections} for {workers} workers", remedy)
    match sections:
        case {"audit": Audit(sinks=sinks)} if any(isinstance(one, StdoutSink) for one in sinks):
            remedy = 'use type = "file": each worker writes one of its own'
            yield Problem("audit.sinks", "standard output cannot be shared by workers", remedy)


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


def _credential(users: MapUser, credential: object, forward_auth: bool) -> Iterator[Problem]:
    match credential:
        case Mint(include_ids=True) if not users.must_exist:
            remedy = "ids come from NSS: set map_user.must_exist = true"
            yield Problem("credential.include_ids", "needs the user's uid", remedy)
        case Attach(impersonate=True) if forward_auth:
            remedy = "SlurmUser's token is for the gateway alone: leave one of the two out"
            yield Problem("server.forward_auth_listen", "does not go with impersonate", remedy)
        case Attach(impersonate=True, names_user=True):
            remedy = "SlurmUser's token is one for all: remove {user}, or impersonate"
            yield Problem("credential.impersonate", "does not go with {user}", remedy)


def _sign_in(sign_in: SignIn, sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    match sections:
        case {"authenticate": Authenticate(issuers=issuers)}:
            known = [issuer.issuer for issuer in issuers]
            for index, client in enumerate(sign_in.clients):
                if client.issuer not in known:
                    what = (
                        f"{client.issuer} is none of authenticate.issuers (compared byte for byte)"
                    )
                    remedy = suggest(client.issuer, known)
                    yield Problem(f"sign_in.clients[{index}].issuer", what, remedy)
    match sections:
        case {"server": Server(public_url=url)} if not url.startswith("https://"):
            remedy = "browsers keep __Host- cookies over TLS only: give the https:// URL"
            yield Problem("sign_in.clients", f"needs TLS, and server.public_url is {url}", remedy)
    match sections:
        case {"credential": Passthrough()}:
            remedy = 'use provider = "mint" or "attach"'
            yield Problem("sign_in.clients", "a session has no token to pass through", remedy)


def _sharing(sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    match sections:
        case {"cache": Cache(share_as=user, private_data_is_empty=is_empty)} if user or is_empty:
            if not is_empty:
                remedy = "set private_data_is_empty = true, if slurm.conf has no PrivateData"
                yield Problem("cache.share_as", "shares what may be private", remedy)
            if not user:
                remedy = "name an unprivileged user in cache.share_as, or remove it"
                yield Problem("cache.private_data_is_empty", "shares nothing by itself", remedy)
            yield from _shared_user(user, sections)


def _shared_user(user: str, sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    match sections:
        case {"map_user": MapUser(forbidden_users=forbidden)} if user in forbidden:
            remedy = "name a user without any privilege"
            yield Problem("cache.share_as", f"{user} is in map_user.forbidden_users", remedy)
    match sections:
        case {"credential": Passthrough()} if user:
            remedy = 'use provider = "mint" or "attach"'
            yield Problem("cache.share_as", "has no token where the caller's is passed on", remedy)


def _acr(authorize: Authorize, sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    match sections:
        case {"authenticate": Authenticate(issuers=issuers)}:
            yield from find_unknowable_acr(authorize, issuers)


def _sinks(audit: Audit) -> Iterator[Problem]:
    seen: set[object] = set()
    for index, sink in enumerate(audit.sinks):
        name = _name_of_sink(sink)
        if name in seen:
            yield Problem(f"audit.sinks[{index}]", f"{name} stands twice", "remove one of them")
        seen.add(name)
        if audit.durability == "off" and sink.required:
            remedy = 'set required = false on every sink, or durability = "buffered"'
            yield Problem(f"audit.sinks[{index}].required", "needs lines that are kept", remedy)

        if isinstance(sink, SyslogSink) and not sink.address.startswith("tls:"):
            yield from _tls_without_tls(f"audit.sinks[{index}]", sink)


def _name_of_sink(sink: Sink) -> object:
    match sink:
        case FileSink(path=path):
            return path
        case SyslogSink(address=address):
            return address
        case _:
            return sink.type


def _tls_without_tls(place: str, sink: SyslogSink) -> Iterator[Problem]:
    for name in ("ca_file", "certificate_file", "key_file"):
        if getattr(sink, name) is not None:
            remedy = "begin the address with tls:, or leave it out"
            yield Problem(f"{place}.{name}", f"does not go with {sink.address}", remedy)


def _named_operations(sections: Mapping[str, BaseModel], catalogue: Catalogue) -> Iterator[Problem]:
    match sections:
        case {"receive": Receive() as receive}:
            yield from _body_caps(receive, catalogue)
    match sections:
        case {"cache": Cache() as cache}:
            yield from _lifetimes(cache, catalogue)


def _body_caps(receive: Receive, catalogue: Catalogue) -> Iterator[Problem]:
    known = [entry.operation.name for entry in catalogue.entries if entry.operation.takes_body]
    for operation, cap in receive.maximum_body_bytes_by_operation.items():
        place = f'receive.maximum_body_bytes_by_operation."{operation}"'
        if operation not in known:
            near = get_close_matches(operation, known, n=1)
            remedy = f'did you mean "{near[0]}"?' if near else "see `slurm-gateway operations`"
            yield Problem(place, "is no operation that takes a body", remedy)
        if cap > receive.maximum_body_bytes:
            remedy = "single operations can only have smaller caps"
            yield Problem(place, f"{cap} is more than maximum_body_bytes", remedy)


def _lifetimes(cache: Cache, catalogue: Catalogue) -> Iterator[Problem]:
    known = [entry.operation.name for entry in catalogue.entries if may_be_kept(entry.operation)]
    for operation in cache.seconds_by_operation:
        if operation not in known:
            place = f'cache.seconds_by_operation."{operation}"'
            near = get_close_matches(operation, known, n=1)
            remedy = f'did you mean "{near[0]}"?' if near else "see `slurm-gateway operations`"
            yield Problem(place, "is no operation whose answers can be kept", remedy)
