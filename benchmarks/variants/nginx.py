"""A scene -> nginx as a reverse proxy without any authentication, with a worker for each process."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.scene import Launch, Scene

MAIN = """\
worker_processes {workers};
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    sendfile on;
    client_max_body_size 0;
{inside}
}}
"""
"""`keepalive_requests` ends connections after 1,000 requests unless it is raised."""

PROXY = """\
    upstream slurmrestd {{
        server {backend};
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port}{tls};
        location / {{
            proxy_pass http://slurmrestd;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection "";
            proxy_set_header Authorization "";
            proxy_set_header X-SLURM-USER-NAME "{user}";
            proxy_set_header X-SLURM-USER-TOKEN "{token}";
        }}
    }}
"""


def nginx_command(folder: Path, inside: str, workers: int = 1) -> list[str]:
    """Write an nginx.conf with this inside of its http block; return the command that runs it."""
    configuration = folder / "nginx.conf"
    configuration.touch(0o600)
    configuration.write_text(MAIN.format(folder=folder, inside=inside, workers=workers))
    return ["/usr/sbin/nginx", "-p", str(folder), "-c", str(configuration)]


@dataclass(frozen=True)
class Nginx:
    """What a plain proxy costs: it sets fixed headers and looks at no token."""

    name: ClassVar[str] = "nginx"
    verifies: ClassVar[bool] = False

    def launch(self, scene: Scene) -> Launch:
        """Proxy everything to the backend over kept connections."""
        inside = PROXY.format(
            backend=scene.backend.address,
            port=scene.port,
            tls=_tls(scene),
            user=scene.backend.slurm_user,
            token=scene.backend.slurm_token,
        )
        return Launch(nginx_command(scene.folder, inside, scene.processes))


def _tls(scene: Scene) -> str:
    if not scene.tls:
        return ""
    certificate, key = scene.provider.certificate_file, scene.provider.private_key_file
    return f" ssl;\n        ssl_certificate {certificate};\n        ssl_certificate_key {key}"
