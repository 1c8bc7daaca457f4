"""Generated clients submit, read, list and cancel jobs on real Slurm, with nothing but a bearer token set."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.releases import releases
from lab.slurm import SlurmRelease
from lab.submission import submission
from tests.integration.clients.toolchain import HERE, Names, Toolchain, camel, toolchain
from tests.integration.conftest import _running

SHORT = "trixie"
"""24.11, whose own document cannot be used for its own list of jobs."""
Shared = Callable[[SlurmRelease], GatewayProcess]


@pytest.fixture(scope="session")
def tools(real_things: None) -> Toolchain:
    return toolchain()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(release.suite, marks=[] if release.suite == SHORT else pytest.mark.long)
        for release in releases()
    ],
)
def slurm_release(request: pytest.FixtureRequest, real_things: None) -> SlurmRelease:
    """One release in the short run, all in the long one."""
    return _running(request.param)


@pytest.fixture
def site(
    slurm_release: SlurmRelease,
    shared_gateway: Shared,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> "Site":
    token = identity_provider.token_for("alice")
    return Site(slurm_release, shared_gateway(slurm_release), token, tmp_path)


class Site:
    """One release behind its gateway, and the document that alice gets there."""

    def __init__(
        self, release: SlurmRelease, gateway: GatewayProcess, token: str, folder: Path
    ) -> None:
        self.release, self.gateway, self.token, self.folder = release, gateway, token, folder
        answer = gateway.ask("GET", "/openapi.json", token)
        assert answer.status == 200
        self.file = folder / "openapi.json"
        self.file.write_bytes(answer.body)
        self.names = Names(answer.json(), release.api_versions[0])

    @property
    def arguments(self) -> tuple[str, str]:
        """Of every driver."""
        body = submission(self.names.version, "#!/bin/sh\nsleep 300\n", name="generated")
        return self.gateway.url, self.names.as_json(body)

    @property
    def environment(self) -> dict[str, str]:
        """A token, and whom to trust."""
        ca_file = str(self.gateway.ca_file)
        return {"TOKEN": self.token, "SSL_CERT_FILE": ca_file, "NODE_EXTRA_CA_CERTS": ca_file}

    def check(self, printed: str) -> None:
        """What the client says, and what Slurm says."""
        seen: dict[str, Any] = json.loads(printed.splitlines()[-1])
        job = str(seen["job"])
        assert str(seen["one"]) == job
        assert job in map(str, seen["listed"])
        assert seen["cancelled"] == 200
        state = self.release.run("squeue", "-h", "--states=all", "-j", job, "-o", "%T %u")
        assert state.split() in (["CANCELLED", "alice"], ["COMPLETING", "alice"])


def test_openapi_python_client(site: Site, tools: Toolchain) -> None:
    generator = tools.python.with_name("openapi-python-client")
    wanted = ["--meta", "none", "--output-path", "made", "--overwrite"]
    printed = tools.run(generator, "generate", "--path", site.file, *wanted, folder=site.folder)
    assert "Warning" not in printed
    driver = HERE / "drive_openapi_python_client.py"
    site.check(
        tools.run(
            tools.python,
            driver,
            *site.arguments,
            folder=site.folder,
            PYTHONPATH=str(site.folder),
            **site.environment,
        )
    )


def test_openapi_generators_python(site: Site, tools: Toolchain) -> None:
    wanted = ["-g", "python", "-i", str(site.file), "-o", "python"]
    tools.java(site.folder, *wanted, "--additional-properties=packageName=made")
    driver = HERE / "drive_openapi_generator.py"
    site.check(
        tools.run(
            tools.python,
            driver,
            *site.arguments,
            folder=site.folder,
            PYTHONPATH=str(site.folder / "python"),
            **site.environment,
        )
    )


def test_openapi_generators_typescript(site: Site, tools: Toolchain) -> None:
    tools.java(site.folder, "-g", "typescript-fetch", "-i", str(site.file), "-o", "made")
    (site.folder / "drive.ts").write_text(driver_in_typescript(site.names), "utf-8")
    (site.folder / "node_modules").symlink_to(tools.node_modules)
    options = ["--target", "es2022", "--module", "commonjs", "--strict", "--types", "node"]
    compiler = tools.node_modules / "typescript/bin/tsc"
    tools.run("node", compiler, *options, "--skipLibCheck", "drive.ts", folder=site.folder)
    site.check(
        tools.run("node", "drive.js", *site.arguments, folder=site.folder, **site.environment)
    )


def driver_in_typescript(names: Names) -> str:
    body = camel(names.body)
    operation = names.document["paths"][f"/slurm/{names.version}/job/{{job_id}}"]["get"]
    parameters = {one["name"]: one["schema"] for one in operation["parameters"]}
    is_number = parameters["job_id"].get("type") == "integer"
    text = (HERE / "drive.ts.in").read_text("utf-8")
    for name, value in {
        "MODEL": body[:1].upper() + body[1:],
        "BODY": body,
        "SUBMIT": camel(names.operation("post", "job/submit")),
        "GET": camel(names.operation("get", "job/{job_id}")),
        "LIST": camel(names.operation("get", "jobs")),
        "CANCEL": camel(names.operation("delete", "job/{job_id}")),
        "NUMBER": str(is_number).lower(),
    }.items():
        text = text.replace(f"@{name}@", value)
    return text
