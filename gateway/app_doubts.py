"""Gateway (the configuration) -> what is permitted but should be meant: said by `check` and at every start."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gateway.app_identity import user_rules
from gateway.config.audit import Audit, SyslogSink
from gateway.config.authenticate import Issuer
from gateway.config.credential import Attach, Mint, Passthrough
from gateway.config.forward import Forward
from gateway.config.gateway import Gateway
from gateway.config.problem import Problem
from gateway.config.section import is_loopback_host
from gateway.config.server import Server
from gateway.config.store import Store
from gateway.users.risks import describe_risks
from gateway.users.rules import FixedUser


def find_doubts(gateway: Gateway) -> list[Problem]:
    """All of it, in the order of the sections."""
    return [
        *_doubt_server(gateway.server),
        *_doubt_issuers(gateway),
        *_doubt_rules(gateway),
        *_doubt_roles(gateway),
        *_doubt_credential(gateway),
        *_doubt_forward(gateway.forward),
        *_doubt_audit(gateway.audit),
        *_doubt_store(gateway.store),
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
    if server.forward_auth_listen is not None:
        what = "whoever may open this socket gets Slurm tokens for whoever has one for here"
        yield Problem("server.forward_auth_listen", what, "let only your own proxy open it")
    if server.public_url.startswith("http://"):
        yield Problem("server.public_url", "is not https", "clients should use TLS")


def _doubt_issuers(gateway: Gateway) -> Iterator[Problem]:
    mapped = {rule.issuer for rule in gateway.map_user.rules}
    for index, issuer in enumerate(gateway.authenticate.issuers):
        place = f"authenticate.issuers[{index}]"
        if issuer.issuer not in mapped:
            what = f"no rule maps the tokens of {issuer.issuer}: they all get 403"
            yield Problem(place, what, "add a [[map_user.rules]] with this issuer")
        if issuer.profile == "cognito":
            what = "access tokens of Cognito have no audience: any for one of client_ids is taken"
            yield Problem(
                f"{place}.profile", what, "name app clients that are for this gateway only"
            )
        yield from _doubt_id_tokens(place, issuer)
        yield from _doubt_provider(place, issuer, gateway)


_SERVE_ANYBODY = {
    "https://token.actions.githubusercontent.com": '{ repository_owner_id = "65601" }',
    "https://gitlab.com": '{ namespace_id = "72" }',
    "https://accounts.google.com": '{ hd = "example.org", email_verified = true }',
}
"""Issuers that make a genuine token, for whatever audience is asked for, for whoever has an account there."""
_ENTRA_HOSTS = frozenset({"login.microsoftonline.com", "sts.windows.net"})


def _doubt_provider(place: str, issuer: Issuer, gateway: Gateway) -> Iterator[Problem]:
    """What is known of single providers; docs/providers/ says more."""
    if issuer.issuer in _SERVE_ANYBODY and not issuer.required_claims:
        what = f"{issuer.issuer} serves anybody: whoever has an account there has tokens for here"
        remedy = f"say whose are meant: required_claims = {_SERVE_ANYBODY[issuer.issuer]}"
        yield Problem(place, what, remedy)
    parts = urlsplit(issuer.issuer)
    signs_in = any(client.issuer == issuer.issuer for client in gateway.sign_in.clients)
    if parts.hostname in _ENTRA_HOSTS and issuer.subject_claim == "sub" and signs_in:
        what = "Entra ID names a person otherwise at each client: browser and command line are two"
        yield Problem(f"{place}.subject_claim", what, 'subject_claim = "oid"')
    if (parts.hostname or "").endswith((".okta.com", ".oktapreview.com")) and not parts.path:
        what = "access tokens of Okta's org authorization server are for Okta alone"
        yield Problem(place, what, "use a custom one: https://…/oauth2/default")


def _doubt_id_tokens(place: str, issuer: Issuer) -> Iterator[Problem]:
    if issuer.accept_id_tokens and issuer.profile == "rfc9068":
        what = 'has no effect: profile "rfc9068" takes access tokens only'
        remedy = 'remove it, or use profile = "oidc"'
        yield Problem(f"{place}.accept_id_tokens", what, remedy)
    elif issuer.accept_id_tokens:
        what = "ID tokens say who signed in at a client, not what a client may do here"
        yield Problem(f"{place}.accept_id_tokens", what, "prefer access tokens")
    for client_id in issuer.audiences:
        if client_id in issuer.login_client_ids:
            takes = issuer.accept_id_tokens and issuer.profile == "oidc"
            what = f"{client_id} is a login client too: a token for it is an ID token, and " + (
                "taken" if takes else "refused"
            )
            remedy = (
                "name what access tokens are issued for; a client's own id is for its login only"
            )
            yield Problem(f"{place}.audiences", what, remedy)


def _doubt_rules(gateway: Gateway) -> Iterator[Problem]:
    users = gateway.map_user
    required = {one.issuer: one.required_claims for one in gateway.authenticate.issuers}
    rules = user_rules(users.rules, lambda path: FixedUser(path.name))
    for risk in describe_risks(rules, required):
        place, _, what = risk.partition(": ")
        yield Problem(place, what)
    if not users.must_exist:
        what = "users are not looked up, so minimum_uid is not checked either"
        yield Problem(
            "map_user.must_exist", what, "jobs of users Slurm does not know wait for ever"
        )
    if "root" not in users.forbidden_users:
        yield Problem("map_user.forbidden_users", "does not name root", "add root and SlurmUser")


def _doubt_roles(gateway: Gateway) -> Iterator[Problem]:
    given = {"user", *(rule.role for rule in gateway.map_user.roles)}
    for role in gateway.authorize.roles:
        if role not in given:
            what = "nobody has this role"
            yield Problem(f"authorize.roles.{role}", what, "add a [[map_user.roles]] that gives it")
    yield from _doubt_field_rules(gateway)


def _doubt_field_rules(gateway: Gateway) -> Iterator[Problem]:
    for name, role in gateway.authorize.roles.items():
        if role.limits_fields:
            what = (
                "rules on fields are guard rails: whoever may submit can call sbatch on the cluster"
            )
            remedy = "limits that must hold belong into Slurm: associations, QOS, job_submit"
            yield Problem(f"authorize.roles.{name}", what, remedy)
        if role.has_conditions and role.deny:
            what = "denies only while it is held: its conditions take the denials away as well"
            yield Problem(f"authorize.roles.{name}.deny", what, "deny in a role without conditions")


def _doubt_credential(gateway: Gateway) -> Iterator[Problem]:
    match gateway.credential:
        case Attach(impersonate=True):
            what = "one SlurmUser token acts as everybody: whoever steals it has the cluster"
            yield Problem("credential.impersonate", what, 'prefer provider = "mint"')
        case Attach() as attach if not attach.names_user:
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


def _doubt_audit(audit: Audit) -> Iterator[Problem]:
    if audit.durability == "off":
        what = "a crash loses records of what was done, and nothing notices"
        yield Problem("audit.durability", what, "for measuring only: leave it out")
    elif not any(sink.required for sink in audit.sinks):
        what = "no sink is required: requests pass unrecorded where none takes lines"
        yield Problem("audit.sinks", what, "leave required = true on the file")
    for index, sink in enumerate(audit.sinks):
        if isinstance(sink, SyslogSink) and sink.address.startswith("tcp:"):
            what = "who does what crosses the network in the clear, and can be changed on its way"
            yield Problem(f"audit.sinks[{index}].address", what, "prefer tls:")


def _doubt_store(store: Store) -> Iterator[Problem]:
    kind, _, rest = (store.address or "").partition(":")
    if kind == "tcp" and not is_loopback_host(rest.rpartition(":")[0].strip("[]")):
        what = "its password, and whom users are bound to, cross the network in the clear"
        yield Problem("store.address", what, "prefer tls:")


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
