"""A scene -> HAProxy, a thread for each process, that verifies the RS256 token and sets Slurm's headers.

It checks algorithm, signature, issuer and expiry, and no audience; the Slurm token is a fixed
one, because HAProxy cannot mint.
"""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.identity import ISSUER
from benchmarks.scene import Launch, Scene

CONFIGURATION = """\
global
    nbthread {threads}
    maxconn 4096
    log /dev/null local0
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    timeout http-keep-alive 1h
frontend clients
    bind 127.0.0.1:{port}{tls}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") 1 }}
    http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
    http-request deny deny_status 401 unless {{ var(txn.iss) -m str {issuer} }}
    http-request set-var(txn.now) date()
    http-request set-var(txn.left) var(txn.bearer),jwt_payload_query('$.exp','int'),sub(txn.now)
    http-request deny deny_status 401 unless {{ var(txn.left) -m int gt 0 }}
    http-request del-header Authorization
    http-request set-header X-SLURM-USER-NAME %[var(txn.bearer),jwt_payload_query('$.preferred_username')]
    http-request set-header X-SLURM-USER-TOKEN "{token}"
    default_backend slurmrestd
backend slurmrestd
    server slurmrestd {backend}
"""


@dataclass(frozen=True)
class HAProxy:
    """The reference of every ratio."""

    name: ClassVar[str] = "haproxy"
    verifies: ClassVar[bool] = True

    def launch(self, scene: Scene) -> Launch:
        """Verify each request's token with the provider's public key from a file."""
        configuration = scene.folder / "haproxy.cfg"
        configuration.touch(0o600)
        configuration.write_text(
            CONFIGURATION.format(
                threads=scene.processes,
                port=scene.port,
                tls=_tls(scene),
                key=scene.provider.public_key_file,
                issuer=ISSUER,
                token=scene.backend.slurm_token,
                backend=scene.backend.address,
            )
        )
        return Launch(["/usr/sbin/haproxy", "-db", "-f", str(configuration)])


def _tls(scene: Scene) -> str:
    """Return the bind options; HAProxy wants certificate and key in one file."""
    if not scene.tls:
        return ""
    both = scene.folder / "haproxy.pem"
    both.touch(0o600)
    parts = (scene.provider.certificate_file, scene.provider.private_key_file)
    both.write_text("".join(part.read_text() for part in parts))
    return f" ssl crt {both} alpn http/1.1"
