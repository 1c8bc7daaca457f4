"""The client signs in at a real provider, by every way, and then asks real Slurm through the real gateway."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.identity_provider.provider import MACHINE_CLIENT, SCOPE
from lab.slurm import SlurmRelease
from tests.integration.at_terminal import Terminal
from tests.integration.conftest import NewProvider, StartGateway

OVER, AWAY, WRONG = 77, 69, 2
SECRET = "SLURM_GATEWAY_CLIENT_SECRET"


@pytest.fixture
def site(one_slurm_release: SlurmRelease, shared_gateway: StartGateway) -> GatewayProcess:
    return shared_gateway(one_slurm_release)


@pytest.fixture
def terminal(tmp_path: Path, site: GatewayProcess) -> Terminal:
    return Terminal(tmp_path / "home", site.ca_file)


def tokens_file(terminal: Terminal) -> Path:
    (file,) = terminal.home.rglob("tokens.json")
    return file


def expire(terminal: Terminal) -> dict[str, object]:
    """Make the client believe that its token is over."""
    file = tokens_file(terminal)
    content: dict[str, object] = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "expires_at": 1.0}))
    return content


@pytest.mark.parametrize("way", ["--device", "--browser"])
def test_a_person_signs_in_with_nothing_but_the_gateways_url(
    terminal: Terminal, site: GatewayProcess, way: str
) -> None:
    done = terminal.log_in(site.url, "alice", way)
    assert done.exit_code == 0, done.stderr
    assert f"Signed in at {site.url} as alice;" in done.stdout
    assert stat.S_IMODE(tokens_file(terminal).stat().st_mode) == 0o600
    who = terminal.type("whoami", "--json")
    assert who.exit_code == 0, who.stderr
    assert who.json()["name"] == "alice"
    assert who.json()["way"] == way.removeprefix("--")


def test_ping_finds_the_newest_version_on_every_release(
    tmp_path: Path, slurm_release: SlurmRelease, shared_gateway: StartGateway
) -> None:
    site = shared_gateway(slurm_release)
    terminal = Terminal(tmp_path / "home", site.ca_file)
    assert terminal.log_in(site.url, "alice", "--browser").exit_code == 0
    done = terminal.type("ping", "--json")
    assert done.exit_code == 0, done.stderr
    facts = done.json()
    assert facts["api_version"] == slurm_release.api_versions[0]
    assert facts["slurm"].startswith(slurm_release.release.slurm)
    assert [one["up"] for one in facts["controllers"]] == [True]
    shown = terminal.type("ping")
    assert "UP" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_many_processes_renew_a_sign_in_once(terminal: Terminal, site: GatewayProcess) -> None:
    """The provider takes a refresh token once: a second use would end the sign-in for all."""
    terminal.log_in(site.url, "alice", "--browser")
    before = expire(terminal)
    started = [terminal.start("ping") for _ in range(6)]
    ended = [(one.communicate(timeout=180)[1], one.returncode) for one in started]
    assert ended == [("", 0)] * 6
    after = json.loads(tokens_file(terminal).read_text())
    assert after["refresh_token"] != before["refresh_token"]
    assert after["access_token"] != before["access_token"]


def test_a_sign_in_that_is_over_is_a_sentence(terminal: Terminal, site: GatewayProcess) -> None:
    terminal.log_in(site.url, "alice", "--browser")
    content = expire(terminal)
    file = tokens_file(terminal)
    file.write_text(json.dumps({**content, "expires_at": 1.0, "refresh_token": "no-such-token"}))
    done = terminal.type("ping")
    assert done.exit_code == OVER
    assert "Your sign-in is over" in done.stderr
    assert "slurm-gateway login" in done.stderr
    assert "no-such-token" not in done.stderr


def test_a_machine_signs_in_with_its_own_client(
    terminal: Terminal, site: GatewayProcess, identity_provider: IdentityProvider
) -> None:
    secret = {SECRET: identity_provider.client_secret(MACHINE_CLIENT)}
    machine = ("--client-credentials", "--client-id", MACHINE_CLIENT, "--scope", SCOPE)
    without = terminal.type("login", site.url, *machine)
    assert without.exit_code == 66
    assert SECRET in without.stderr
    done = terminal.type("login", site.url, *machine, **secret)
    assert done.exit_code == 0, done.stderr
    assert terminal.type("ping").exit_code == 0
    expire(terminal)
    assert terminal.type("ping", **secret).exit_code == 0
    wrong = terminal.type("login", site.url, *machine, **{SECRET: "wrong"})
    assert wrong.exit_code == OVER
    assert "invalid_client" in wrong.stderr


def test_a_ci_job_needs_no_login(
    tmp_path: Path, site: GatewayProcess, identity_provider: IdentityProvider
) -> None:
    terminal = Terminal(tmp_path / "home", site.ca_file, {"SLURM_GATEWAY_URL": site.url})
    assert terminal.type("ping").exit_code == OVER
    token = identity_provider.token_for("alice")
    assert terminal.type("ping", SLURM_GATEWAY_TOKEN=token).exit_code == 0
    file = tmp_path / "token"
    file.write_text(token)
    assert terminal.type("ping", SLURM_GATEWAY_TOKEN_FILE=str(file)).exit_code == 0
    assert not terminal.home.exists()


def test_a_token_that_something_else_keeps_fresh_is_read_each_time(
    terminal: Terminal, site: GatewayProcess, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("stale")
    assert terminal.type("login", site.url, "--token-file", str(file)).exit_code == 0
    refused = terminal.type("ping")
    assert refused.exit_code == OVER
    assert "token-invalid" in refused.stderr
    file.write_text(identity_provider.token_for("alice"))
    assert terminal.type("ping").exit_code == 0


def test_logging_out_leaves_nothing_here_and_nothing_to_renew_there(
    terminal: Terminal, site: GatewayProcess
) -> None:
    terminal.log_in(site.url, "alice", "--browser")
    kept = tokens_file(terminal)
    copy = kept.read_text()
    done = terminal.type("logout", "--json")
    assert done.exit_code == 0
    assert done.json()["revoked"] is True
    assert not kept.exists()
    assert terminal.type("ping").exit_code == WRONG
    terminal.log_in(site.url, "bob", "--browser")
    stolen = {**json.loads(copy), "expires_at": 1.0}
    tokens_file(terminal).write_text(json.dumps(stolen))
    assert terminal.type("ping").exit_code == OVER


def test_a_provider_that_is_away_is_named(
    terminal: Terminal,
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    new_identity_provider: NewProvider,
    tmp_path: Path,
) -> None:
    provider = new_identity_provider()
    own = gateway(one_slurm_release, provider=provider)
    alone = Terminal(tmp_path / "alone", own.ca_file)
    assert alone.log_in(own.url, "alice", "--browser").exit_code == 0
    provider.down()
    assert alone.type("ping").exit_code == 0, "the token still lasts"
    expire(alone)
    done = alone.type("ping", "--json")
    assert done.exit_code == AWAY
    assert provider.issuer in json.loads(done.stderr)["error"]
    login = alone.type("login", own.url, "--device")
    assert login.exit_code == AWAY


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["login"], WRONG, "Which gateway?"),
        (["login", "http://slurm.example.org"], WRONG, "not encrypted"),
        (["login", "https://localhost:1"], AWAY, "cannot be reached"),
        (["login", "{url}", "--device", "--issuer", "https://other"], WRONG, "does not trust"),
        (["login", "{url}", "--client-credentials"], WRONG, "--client-id"),
        (["login", "{url}", "--token-file", "/nowhere"], 66, "cannot be read"),
        (["login", "{url}", "--device", "--token-file", "/x"], WRONG, "a way of its own"),
        (["login", "{url}", "--ca-file", "/nowhere"], 66, "/nowhere"),
        (["ping"], WRONG, "no gateway to ask"),
        (["ping", "--profile", "nobody"], WRONG, "no profile"),
        (["ping", "--profile", "../x"], WRONG, "no profile"),
        (["ping", "--gateway", "{url}"], OVER, "not signed in"),
        (["logout"], OVER, "not signed in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_one_sentence_and_the_documented_code(
    terminal: Terminal, site: GatewayProcess, arguments: list[str], code: int, says: str
) -> None:
    done = terminal.type(*(one.replace("{url}", site.url) for one in arguments))
    assert done.exit_code == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_certificate_that_is_not_trusted_is_said_with_its_remedy(
    tmp_path: Path, site: GatewayProcess
) -> None:
    stranger = Terminal(tmp_path / "home", site.ca_file)
    del stranger.environment["SLURM_GATEWAY_CA_FILE"]
    done = stranger.type("login", site.url)
    assert done.exit_code == AWAY
    assert "not trusted" in done.stderr
    assert "--ca-file" in done.stderr


def test_two_gateways_are_two_profiles_and_the_latest_is_the_default(
    terminal: Terminal, site: GatewayProcess
) -> None:
    terminal.log_in(site.url, "alice", "--browser", "--profile", "one")
    terminal.log_in(site.url, "bob", "--browser", "--profile", "two")
    assert terminal.type("whoami", "--json").json()["name"] == "bob"
    assert terminal.type("whoami", "--json", "--profile", "one").json()["name"] == "alice"
    by_environment = terminal.type("whoami", "--json", SLURM_GATEWAY_PROFILE="one")
    assert by_environment.json()["name"] == "alice"
