"""The extract of each release's own OpenAPI document that the catalogue is held to, beside the document itself."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease

EXTRACT = Path(__file__).parent.parent / "unit/slurm_api/data/openapi_documents.tsv"
METHODS = ("get", "post", "delete")
_VERSION = re.compile(r"/v0\.0\.(\d+)(?=/)")

Row = tuple[str, str, str, str, frozenset[str]]
"""Method, path with * for the version, version, "body" where it takes one, query names."""


def rows_of_extract(release: str) -> set[Row]:
    with EXTRACT.open(encoding="ascii") as file:
        return {
            (
                row["method"],
                row["path"].rstrip("/"),
                version,
                row["body"],
                frozenset(row["query"].split(";")) - {"-"},
            )
            for row in csv.DictReader(file, delimiter="\t")
            if row["release"].startswith(release + ".")
            for version in row["versions"].split(",")
        }


def rows_of_document(document: dict[str, Any]) -> set[Row]:
    return {
        row_of(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def row_of(method: str, path: str, operation: dict[str, Any]) -> Row:
    version = _VERSION.search(path)
    names = frozenset(
        parameter["name"]
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    )
    return (
        method,
        _VERSION.sub("/*", path).rstrip("/"),
        version.group(1) if version else "-",
        "body" if "requestBody" in operation else "-",
        names,
    )


def test_the_extract_is_what_the_release_says_of_itself(slurm_release: SlurmRelease) -> None:
    """A release that gains an operation with an update is seen here first."""
    status, body = slurm_release.request("alice", "GET", "/openapi/v3")
    assert status == 200
    said, kept = rows_of_document(json.loads(body)), rows_of_extract(slurm_release.release.slurm)
    assert said - kept == set()
    assert kept - said == set()


def test_a_parameter_with_a_name_of_several_words_gets_through(
    slurm_release: SlurmRelease,
    shared_gateway: Callable[[SlurmRelease], GatewayProcess],
    identity_provider: IdentityProvider,
) -> None:
    """v0.0.42 and later call some of them "Include usage" and the like; older ones know no such name."""
    version = slurm_release.api_versions[0]
    gateway = shared_gateway(slurm_release)
    target = f"/slurmdb/{version}/associations?Include%20usage=true"
    answer = gateway.ask("GET", target, identity_provider.token_for("bob"))
    if version in ("v0.0.42", "v0.0.45"):
        assert answer.status == 200, answer.body
        assert answer.json()["associations"]
    else:
        assert (answer.status, answer.json()["code"]) == (400, "query-unlisted")
