"""A name -> an OpenID provider with its own port, keys and clients, that can be restarted and its keys rotated."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from lab import places
from lab.identity_provider import node
from lab.identity_provider.login import log_in, post_form
from lab.ports import choose_ports, remembered_ports
from lab.processes import CLEAN_ENVIRONMENT, LabError, Recorded
from lab.progress import Progress

AUDIENCE = "https://localhost:8443"
SCOPE = "slurm"
_READY_SECONDS = 120.0
CLI_CLIENT, WEB_CLIENT, MACHINE_CLIENT = "slurm-cli", "slurm-web", "nightly-pipeline"
CLI_CALLBACK = "http://127.0.0.1/callback"
WEB_NAME = "lab"
WEB_CALLBACK = f"/login/callback/{WEB_NAME}"
ACR = "urn:lab:second-factor"
"""What a login is worth whose "second factor" was ticked."""
GROUPS = {
    "alice": ["hpc-users"],
    "bob": ["hpc-users", "hpc-operators"],
    "carol": ["hpc-users"],
    "dave": ["hpc-users"],
    "root": [],
}
"""Who can log in. dave is no Linux user, and root must never become one."""


def _user(name: str) -> dict[str, object]:
    subject = hashlib.sha256(f"subject of {name}".encode()).hexdigest()[:24]
    return {
        "sub": subject,
        "preferred_username": name,
        "email": f"{name}@example.org",
        "groups": GROUPS[name],
    }


def _clients(web_secret: str, machine_secret: str, audience: str) -> list[dict[str, object]]:
    code = {"response_types": ["code"]}
    device = "urn:ietf:params:oauth:grant-type:device_code"
    return [
        {
            "client_id": CLI_CLIENT,
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "redirect_uris": [CLI_CALLBACK],
            "grant_types": ["authorization_code", "refresh_token", device],
            **code,
        },
        {
            "client_id": WEB_CLIENT,
            "client_secret": web_secret,
            "redirect_uris": [f"{audience}{WEB_CALLBACK}"],
            "post_logout_redirect_uris": [f"{audience}/login/signed-out"],
            "backchannel_logout_uri": f"{audience}/login/backchannel/{WEB_NAME}",
            "backchannel_logout_session_required": True,
            "require_auth_time": True,
            "grant_types": ["authorization_code", "refresh_token"],
            **code,
        },
        {
            "client_id": MACHINE_CLIENT,
            "client_secret": machine_secret,
            "redirect_uris": [],
            "response_types": [],
            "grant_types": ["client_credentials"],
        },
    ]


class IdentityProvider:
    """One provider. Those with different names share the program and nothing else."""

    def __init__(
        self,
        name: str = "shared",
        *,
        access_token_lifetime_seconds: int = 900,
        audience: str = AUDIENCE,
        ca_file: Path | None = None,
        checkout: Path = places.CHECKOUT,
    ) -> None:
        self._program = places.state_root(checkout) / "identity_provider"
        self._folder = self._program / "instances" / name
        self._checkout = checkout
        self._ca_file = ca_file
        self.audience = audience
        """The one resource that its access tokens are for."""
        self.access_token_lifetime_seconds = access_token_lifetime_seconds
        """Takes effect at the next start."""

    @property
    def issuer(self) -> str:
        """Its URL, as in the claim iss."""
        return f"http://localhost:{remembered_ports(self._folder)['provider']}"

    @property
    def jwks_url(self) -> str:
        """Where its public keys are."""
        return f"{self.issuer}/jwks"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self._folder / "log"

    @property
    def _process(self) -> Recorded:
        return Recorded(self._folder / "pid", "node", "the OpenID provider")

    def up(self, progress: Progress | None = None) -> bool:
        """Install it where missing and start it. False: it ran already, with whatever settings it was started."""
        say = progress or Progress("OpenID provider")
        with places.locked(
            self._folder / "lock", say, "another process that starts the OpenID provider"
        ):
            if self._process.pid() is not None:
                return False
            found = node.find_node(self._checkout, say)
            node.install(self._program, found, say)
            port = choose_ports(self._folder, ("provider",))["provider"]
            self._make_keys(found)
            settings = self._write_settings(port)
            # the authority of the gateway's certificate, for logout tokens to it
            trust = {"NODE_EXTRA_CA_CERTS": str(self._ca_file)} if self._ca_file else {}
            environment = {**CLEAN_ENVIRONMENT, **trust}
            self._process.start(
                [str(found.node), str(self._program / "server.mjs"), str(settings)],
                self.log,
                environment,
            )
            self._process.await_answer(self._answers, _READY_SECONDS, self.log)
        return True

    def down(self) -> bool:
        """Stop it. False: it did not run."""
        return self._process.stop()

    def kill(self) -> bool:
        """Stop it with SIGKILL. False: it did not run."""
        return self._process.stop(first=signal.SIGKILL)

    def is_up(self) -> bool:
        """Whether it runs and answers."""
        return self._process.pid() is not None and self._answers()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"{self.issuer}/.well-known/openid-configuration", timeout=2).close()
        except OSError:
            return False
        return True

    def _secrets(self) -> dict[str, str]:
        """Secrets of its clients and its cookies, made once, so that they survive a restart."""
        file = self._folder / "secrets.json"
        if not file.exists():
            made = {name: secrets.token_urlsafe(32) for name in ("cookie", "web", "machine")}
            places.write_private(file, json.dumps(made).encode())
        return dict(json.loads(file.read_text()))

    def client_secret(self, client_id: str) -> str:
        """The secret of the web or the machine client."""
        return self._secrets()[{WEB_CLIENT: "web", MACHINE_CLIENT: "machine"}[client_id]]

    def _write_settings(self, port: int) -> Path:
        known = self._secrets()
        settings = {
            "issuer": f"http://localhost:{port}",
            "port": port,
            "audience": self.audience,
            "scope": SCOPE,
            "acr": ACR,
            "web_client": WEB_CLIENT,
            "keys_file": str(self._keys_file),
            "cookie_secret": known["cookie"],
            "access_token_lifetime_seconds": self.access_token_lifetime_seconds,
            "users": {name: _user(name) for name in GROUPS},
            "clients": _clients(known["web"], known["machine"], self.audience),
        }
        file = self._folder / "settings.json"
        places.write_private(file, json.dumps(settings, indent=1).encode())
        return file

    @property
    def _keys_file(self) -> Path:
        return self._folder / "keys.json"

    def _new_key(self, found: node.Node) -> dict[str, Any]:
        command = [str(found.node), str(self._program / "new-key.mjs")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"no new signing key: {done.stderr.strip()}")
        return dict(json.loads(done.stdout))

    def _write_keys(self, keys: list[dict[str, Any]]) -> None:
        places.write_private(self._keys_file, json.dumps({"keys": keys}).encode())

    def _make_keys(self, found: node.Node) -> None:
        if not self._keys_file.exists():
            self._write_keys([self._new_key(found)])

    def rotate_keys(self, *, withdraw_old: bool = False) -> str:
        """Sign with a new key from now on and return its kid; the old ones stay published unless withdrawn.

        The provider restarts, which ends its sessions and refresh tokens.
        """
        found = node.find_node(self._checkout, Progress("OpenID provider"))
        old = [] if withdraw_old else json.loads(self._keys_file.read_text())["keys"]
        new = self._new_key(found)
        # The provider signs with the first key that fits.
        self._write_keys([new, *old])
        if self.down():
            self.up()
        return str(new["kid"])

    def tokens_for(
        self, user: str, scope: str = f"openid profile email groups offline_access {SCOPE}"
    ) -> dict[str, Any]:
        """The whole answer of the token endpoint after a login: access_token, id_token, refresh_token, expires_in."""
        return log_in(self.issuer, CLI_CLIENT, CLI_CALLBACK, user, scope)

    def token_for(self, user: str) -> str:
        """An access token after a login through the provider's own page."""
        return str(self.tokens_for(user)["access_token"])

    def machine_token(self) -> str:
        """An access token of the machine client, whose subject is its client id (RFC 6749, 4.4)."""
        form = {"grant_type": "client_credentials", "scope": SCOPE}
        basic = (MACHINE_CLIENT, self.client_secret(MACHINE_CLIENT))
        return str(post_form(f"{self.issuer}/token", form, basic)["access_token"])
