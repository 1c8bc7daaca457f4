"""A scene -> Apache with mod_auth_openidc as an OAuth 2.0 resource server, in one process.

The event MPM serves with threads, so that one process may use more than one core.
"""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.identity import AUDIENCE, ISSUER, KEY_ID
from benchmarks.scene import Launch, Scene

MODULES = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http")

CONFIGURATION = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex default:{folder}
User www-data
Group www-data
Listen 127.0.0.1:{port}
ErrorLog {folder}/error.log
LogLevel error
{modules}
LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so
ServerLimit 1
StartServers 1
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 128
AsyncRequestWorkerFactor 8
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 3600
OIDCCacheShmEntrySizeMax 65536
OIDCOAuthVerifyCertFiles {key_id}#{certificate}
OIDCOAuthRemoteUserClaim preferred_username
{tls}
<Location />
    AuthType oauth20
    Require claim "iss:{issuer}"
    RequestHeader set X-SLURM-USER-NAME "expr=%{{REMOTE_USER}}"
    RequestHeader set X-SLURM-USER-TOKEN "{token}"
    RequestHeader unset Authorization
    ProxyPass http://{backend}/ keepalive=On connectiontimeout=5 timeout=300
</Location>
"""


@dataclass(frozen=True)
class Apache:
    """The peer that sites with an OpenID provider most often have already."""

    name: ClassVar[str] = "apache"
    verifies: ClassVar[bool] = True

    def launch(self, scene: Scene) -> Launch:
        """Verify each token with the provider's certificate, map the user, proxy."""
        configuration = scene.folder / "apache.conf"
        configuration.touch(0o600)
        configuration.write_text(
            CONFIGURATION.format(
                folder=scene.folder,
                port=scene.port,
                modules=_modules(scene),
                key_id=KEY_ID,
                certificate=scene.provider.certificate_file,
                issuer=ISSUER,
                audience=AUDIENCE,
                token=scene.backend.slurm_token,
                backend=scene.backend.address,
                tls=_tls(scene),
            )
        )
        return Launch(["/usr/sbin/apache2", "-DFOREGROUND", "-f", str(configuration)])


def _modules(scene: Scene) -> str:
    names = (*MODULES, "ssl") if scene.tls else MODULES
    folder = "/usr/lib/apache2/modules"
    return "\n".join(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in names)


def _tls(scene: Scene) -> str:
    if not scene.tls:
        return ""
    certificate, key = scene.provider.certificate_file, scene.provider.private_key_file
    return f"SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}"
