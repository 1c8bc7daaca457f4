"""A moto server -> a user pool of Amazon Cognito, and what moto has not: the sign-in pages on the pool's own domain.

The pages stand in for Cognito's as its developer guide describes them: they hand out moto's own tokens, with
the nonce that moto knows nothing of, signed with moto's key.
"""

import base64
import gzip
import hashlib
import json
import secrets
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import httpx2
from joserfc.jwk import RSAKey
from joserfc.jws import serialize_compact
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from lab.ports import free_port
from lab.processes import wait_until

REGION = "eu-central-1"
_POLL_SECONDS = 0.02
"""How long the pages take to notice that they shall end."""
_PASSWORD = "Canary-passw0rd"
_PATIENCE_SECONDS = 60.0


class Refused(Exception):
    """moto said no."""


class CognitoPool:
    """A user pool in a moto server. Its tokens name the real service as issuer, its keys are local."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.pool_id = str(self._call("CreateUserPool", PoolName="hpc")["UserPool"]["Id"])
        self.issuer = f"https://cognito-idp.{REGION}.amazonaws.com/{self.pool_id}"
        self.jwks_url = f"{url}/{self.pool_id}/.well-known/jwks.json"
        self.client_id = self.add_client("cli")
        self.add_user("alice", "hpc-users")

    def sign_in(self, client_id: str, user: str = "alice") -> dict[str, Any]:
        """AccessToken, IdToken and RefreshToken."""
        return self._tokens(client_id, "USER_PASSWORD_AUTH", USERNAME=user, PASSWORD=_PASSWORD)

    def refresh(self, client_id: str, refresh_token: str) -> dict[str, Any]:
        """AccessToken and IdToken. Raises Refused."""
        return self._tokens(client_id, "REFRESH_TOKEN_AUTH", REFRESH_TOKEN=refresh_token)

    def sign_out_everywhere(self, user: str) -> None:
        """The user's refresh tokens end."""
        self._call("AdminUserGlobalSignOut", UserPoolId=self.pool_id, Username=user)

    def add_client(self, name: str) -> str:
        """Its id."""
        answer = self._call(
            "CreateUserPoolClient",
            UserPoolId=self.pool_id,
            ClientName=name,
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )
        return str(answer["UserPoolClient"]["ClientId"])

    def add_user(self, name: str, *groups: str) -> None:
        """With the one password of all."""
        pool = {"UserPoolId": self.pool_id}
        self._call("AdminCreateUser", **pool, Username=name)
        self._call(
            "AdminSetUserPassword", **pool, Username=name, Password=_PASSWORD, Permanent=True
        )
        for group in groups:
            self._call("CreateGroup", **pool, GroupName=group)
            self._call("AdminAddUserToGroup", **pool, Username=name, GroupName=group)

    def _tokens(self, client_id: str, flow: str, **parameters: str) -> dict[str, Any]:
        answer = self._call(
            "InitiateAuth", ClientId=client_id, AuthFlow=flow, AuthParameters=parameters
        )
        return dict(answer["AuthenticationResult"])

    def _call(self, operation: str, **arguments: object) -> dict[str, Any]:
        scope = f"20260101/{REGION}/cognito-idp/aws4_request"
        headers = {
            "X-Amz-Target": f"AWSCognitoIdentityProviderService.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=test/{scope}",
        }
        answer = httpx2.post(
            self._url, headers=headers, json=arguments, trust_env=False, timeout=_PATIENCE_SECONDS
        )
        if answer.status_code != 200:
            raise Refused(answer.text)
        return dict(answer.json()) if answer.content else {}


@contextmanager
def moto_pool() -> Iterator[CognitoPool]:
    """A pool in a moto server of its own."""
    port = free_port()
    url = f"http://localhost:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert server.poll() is None, "moto has ended"
        try:
            return httpx2.get(f"{url}/moto-api/data.json", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    try:
        wait_until(answers, 120, "moto")
        yield CognitoPool(url)
    finally:
        server.terminate()
        server.wait()


class HostedPages:
    """authorize, token, userInfo and logout on the pool's domain, for one app client with a secret.

    Whoever comes to authorize is signed in as `user`. `metadata_url` is at another host than the rest.
    """

    def __init__(self, pool: CognitoPool, callback: str, signed_out: str, secret: str) -> None:
        self.pool, self.callback, self.signed_out, self.secret = pool, callback, signed_out, secret
        self.client_id = pool.add_client("web")
        self.user = "alice"
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.metadata_url = f"https://127.0.0.1:{self.port}/{pool.pool_id}/openid-configuration"
        self.claims: dict[str, Any] = {}
        """Laid over those of the next ID token."""
        self._codes: dict[str, Mapping[str, str]] = {}
        self._users: dict[str, str] = {}
        self._key = RSAKey.import_key(_moto_key())

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        routes = {
            f"/{self.pool.pool_id}/openid-configuration": self._metadata,
            "/oauth2/authorize": self._authorize,
            "/oauth2/token": self._token,
            "/oauth2/userInfo": self._userinfo,
            "/logout": self._logout,
        }
        return routes[request.path](request)(environ, start_response)

    def _metadata(self, _request: Request) -> Response:
        """As Cognito's: PKCE is not named, end_session_endpoint is."""
        return _json(
            {
                "issuer": self.pool.issuer,
                "jwks_uri": self.pool.jwks_url,
                "authorization_endpoint": f"{self.url}/oauth2/authorize",
                "token_endpoint": f"{self.url}/oauth2/token",
                "userinfo_endpoint": f"{self.url}/oauth2/userInfo",
                "end_session_endpoint": f"{self.url}/logout",
                "revocation_endpoint": f"{self.url}/oauth2/revoke",
            }
        )

    def _authorize(self, request: Request) -> Response:
        asked = request.args.to_dict()
        if (asked.get("client_id"), asked.get("redirect_uri")) != (self.client_id, self.callback):
            return Response("redirect_mismatch", 400)
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            return Response("invalid_request", 400)
        code = secrets.token_urlsafe()
        self._codes[code] = asked
        return _see(self.callback, code=code, state=asked["state"])

    def _token(self, request: Request) -> Response:
        auth = request.authorization
        if auth is None or (auth.username, auth.password) != (self.client_id, self.secret):
            return _json({"error": "invalid_client"}, 400)
        form = request.form
        try:
            if form["grant_type"] == "refresh_token":
                return self._refreshed(form["refresh_token"])
            asked = self._codes.pop(form["code"])
        except (KeyError, Refused):
            return _json({"error": "invalid_grant"}, 400)
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(verifier).decode().rstrip("=") != asked["code_challenge"]:
            return _json({"error": "invalid_grant"}, 400)
        if form["redirect_uri"] != self.callback:
            return _json({"error": "invalid_grant"}, 400)
        return self._answer(self.pool.sign_in(self.client_id, self.user), nonce=asked["nonce"])

    def _refreshed(self, refresh_token: str) -> Response:
        """Cognito rotates only where that is switched on, and its ID token has no nonce then."""
        return self._answer(self.pool.refresh(self.client_id, refresh_token))

    def _answer(self, made: Mapping[str, Any], **claims: str) -> Response:
        self._users[made["AccessToken"]] = self.user
        answer = {
            "access_token": made["AccessToken"],
            "id_token": self._signed_again(made["IdToken"], made["AccessToken"], claims),
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        if "RefreshToken" in made:
            answer["refresh_token"] = made["RefreshToken"]
        return _json(answer)

    def _signed_again(self, token: str, access_token: str, claims: Mapping[str, str]) -> str:
        """moto's claims with what its pages would have added."""
        made = claims_in(token)
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        at_hash = base64.urlsafe_b64encode(half).decode().rstrip("=")
        whole = {**made, "at_hash": at_hash, **claims, **self.claims}
        header = {"alg": "RS256", "kid": "dummy"}
        return serialize_compact(header, json.dumps(whole).encode(), self._key)

    def _userinfo(self, request: Request) -> Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._users:
            return _json({"error": "invalid_token"}, 401)
        return _json({"sub": claims_in(token)["sub"], "username": self._users[token]})

    def _logout(self, request: Request) -> Response:
        """Needs client_id, and logout_uri as it was registered; OpenID Connect's names mean nothing here."""
        asked = request.args
        if (asked.get("client_id"), asked.get("logout_uri")) != (self.client_id, self.signed_out):
            return Response("Required String parameter 'redirect_uri' is not present", 400)
        return _see(self.signed_out)


def claims_in(token: str) -> dict[str, Any]:
    """Its payload, unverified."""
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def _moto_key() -> dict[str, Any]:
    """Published with moto, which is why nothing may trust it but a test."""
    packed = files("moto.cognitoidp").joinpath("resources/jwks-private.json.gz").read_bytes()
    return dict(json.loads(gzip.decompress(packed)))


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")


def _see(url: str, **query: str) -> Response:
    where = f"{url}?{urlencode(query)}" if query else url
    return Response("", 302, {"Location": where})


@contextmanager
def serving_pages(pages: HostedPages, tls: ssl.SSLContext) -> Iterator[None]:
    """On loopback, until the end of the block."""
    server = make_server("127.0.0.1", pages.port, pages, threaded=True, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
