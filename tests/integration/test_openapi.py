"""The served OpenAPI document on real releases: valid, cut to the caller, the gateway's own, and recorded."""

import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from gateway.openapi.corrections import read_corrections
from gateway.openapi.cut import cut
from gateway.openapi.grammar import MENDS, Mend
from gateway.openapi.own_part import Publisher
from gateway.openapi.source import read_source
from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.submission import state_of, user_of
from tests.integration.test_catalogue import rows_of_document

Shared = Callable[..., GatewayProcess]

KEY = "Idempotency-Key"
EVERYTHING = {
    "authorize": {
        "roles": {
            "user": {
                "allow": [
                    "READ",
                    "READ-HEAVY",
                    "READ-ACCOUNTING",
                    "READ-SENSITIVE",
                    "READ-BULK",
                    "SUBMIT",
                    "ALLOCATE",
                    "JOB-WRITE",
                    "JOB-WRITE-BULK",
                    "ACCT-JOB-WRITE",
                    "ADMIN",
                    "UTIL",
                ]
            }
        }
    }
}
NEEDED = {
    "name_operations": "22.05",
    "leave_out_empty_lists": "24.11",
    "leave_out_wrong_defaults": "24.11",
}
"""A release whose document is not valid without the rule; of the one that is not here, the answers tell."""


def document_of(gateway: GatewayProcess, token: str | None, path: str = "/openapi/v3") -> Any:
    answer = gateway.ask("GET", path, token)
    assert answer.status == 200, answer.body
    return answer.json()


def faults_of(document: dict[str, Any]) -> list[str]:
    return [error.message[-200:] for error in OpenAPIV30SpecValidator(document).iter_errors()]


def calls_in(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    """(method, path with * for the version, version)."""
    return {row[:3] for row in rows_of_document(document)}


def test_the_document_is_valid_for_those_who_may_do_little_and_for_those_who_may_do_all(
    slurm_release: SlurmRelease,
    shared_gateway: Shared,
    identity_provider: IdentityProvider,
) -> None:
    token = identity_provider.token_for("alice")
    little = document_of(shared_gateway(slurm_release), token)
    everything = document_of(shared_gateway(slurm_release, EVERYTHING), token)
    assert faults_of(little) == []
    assert faults_of(everything) == []
    assert calls_in(little) < calls_in(everything)


def test_the_document_says_what_the_caller_may_call_and_no_more(
    slurm_release: SlurmRelease, shared_gateway: Shared, identity_provider: IdentityProvider
) -> None:
    """alice has the role "user", bob "operator" as well."""
    gateway = shared_gateway(slurm_release)
    version = slurm_release.api_versions[0]
    number = version.rpartition(".")[2]
    alice = calls_in(document_of(gateway, identity_provider.token_for("alice")))
    bob = calls_in(document_of(gateway, identity_provider.token_for("bob")))
    assert alice < bob
    assert ("POST", "/slurm/*/job/submit", number) in alice
    assert {row for row in bob if row[1].startswith("/slurmdb/*/user")} - alice
    for method, path, version_number in sorted(alice):
        if "{" in path or method != "GET" or "config" in path or "association" in path:
            continue
        asked = path.replace("*", f"v0.0.{version_number}")
        status = gateway.ask(method, asked, identity_provider.token_for("alice")).status
        assert status != 403, path
    whole = rows_of_document(json.loads(slurm_release.request("alice", "GET", "/openapi/v3")[1]))
    refused = {row[:3] for row in whole if row[0] == "GET" and "{" not in row[1]} - alice
    for _, path, version_number in sorted(refused):
        asked = path.replace("*", f"v0.0.{version_number}")
        answer = gateway.ask("GET", asked, identity_provider.token_for("alice"))
        assert (answer.status, answer.json()["code"]) == (403, "operation-unlisted"), path


def test_nothing_of_slurms_own_way_in_is_told(
    slurm_release: SlurmRelease, shared_gateway: Shared, identity_provider: IdentityProvider
) -> None:
    gateway = shared_gateway(slurm_release)
    document = document_of(gateway, identity_provider.token_for("alice"))
    text = json.dumps(document)
    assert "X-SLURM" not in text
    assert document["servers"] == [{"url": gateway.url}]
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    flow = schemes["oauth2_1"]["flows"]["authorizationCode"]
    assert flow["tokenUrl"].startswith(identity_provider.issuer)
    assert schemes["openid_1"]["openIdConnectUrl"].startswith(identity_provider.issuer)
    used = set(text.split('"#/components/schemas/')[1:])
    used = {part.partition('"')[0] for part in used}
    assert used == set(document["components"]["schemas"])


def test_the_example_of_a_submission_fits_its_schema_and_runs(
    slurm_release: SlurmRelease, shared_gateway: Shared, identity_provider: IdentityProvider
) -> None:
    """In every version that the release has, as the caller, and once where its key comes twice."""
    gateway, token = shared_gateway(slurm_release), identity_provider.token_for("alice")
    document = document_of(gateway, token)
    submits = {path: one["post"] for path, one in document["paths"].items() if "submit" in path}
    assert len(submits) >= 2
    for path, submit in submits.items():
        media = submit["requestBody"]["content"]["application/json"]
        schema = {**media["schema"], "components": document["components"]}
        assert [
            error.message for error in OAS30Validator(schema).iter_errors(media["example"])
        ] == []
        assert [one["name"] for one in submit["parameters"] if one["in"] == "header"] == [KEY]
        key = {KEY: f'"{uuid.uuid4()}"'}
        first, again = (
            gateway.ask("POST", path, token, media["example"], key).json()["job_id"]
            for _ in range(2)
        )
        assert first == again
        job = f"/slurm/{slurm_release.api_versions[0]}/job/{first}"
        wait_until(partial(_is_done, gateway, job, token), 200, path)


def _is_done(gateway: GatewayProcess, path: str, token: str) -> bool:
    found = gateway.ask("GET", path, token).json()["jobs"][0]
    assert user_of(found) == "alice"
    return state_of(found) == "COMPLETED"


def test_every_address_serves_it_and_every_request_is_recorded(
    one_slurm_release: SlurmRelease, shared_gateway: Shared, identity_provider: IdentityProvider
) -> None:
    gateway = shared_gateway(one_slurm_release)
    token = identity_provider.token_for("alice")
    expected = document_of(gateway, token)
    assert document_of(gateway, token, "/openapi") == expected
    assert document_of(gateway, token, "/openapi.json") == expected
    answer = gateway.ask("GET", "/openapi.yaml", token)
    assert answer.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(answer.body) == expected
    again = gateway.ask(
        "GET", "/openapi.yaml", token, None, {"If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status, again.body) == (304, b"")
    for one, status in ((answer, 200), (again, 304)):
        record = gateway.audit_record(one.headers["X-Request-Id"])
        assert (record["user"], record["status"]) == ("alice", status)
        assert record["operation"] == "GET /openapi.yaml"


def test_without_a_token_there_is_no_document(
    one_slurm_release: SlurmRelease, shared_gateway: Shared
) -> None:
    for path in ("/openapi", "/openapi/v3", "/openapi.json", "/openapi.yaml"):
        answer = shared_gateway(one_slurm_release).ask("GET", path)
        assert (answer.status, answer.json()["code"]) == (401, "token-missing")
        assert "resource_metadata" in answer.headers["WWW-Authenticate"]


def test_without_a_token_there_is_the_document_of_everybody_where_that_is_configured(
    slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> None:
    opened = gateway(slurm_release, {"authorize": {"openapi_without_token": True}})
    answer = opened.ask("GET", "/openapi/v3")
    assert answer.status == 200, answer.body
    assert answer.json() == document_of(opened, identity_provider.token_for("alice"))
    record = opened.audit_record(answer.headers["X-Request-Id"])
    assert (record["user"], record["issuer"]) == ("nobody", "")
    version = slurm_release.api_versions[0]
    for token, path, status in (
        (None, f"/slurm/{version}/jobs", 401),
        ("not.a.token", "/openapi/v3", 401),
    ):
        assert opened.ask("GET", path, token).status == status


@pytest.mark.parametrize("left_out", MENDS, ids=lambda mend: mend.__name__)
def test_each_rule_of_grammar_is_needed(left_out: Mend, slurm_release: SlurmRelease) -> None:
    raw = slurm_release.request("alice", "GET", "/openapi/v3")[1]
    mends = [mend for mend in MENDS if mend is not left_out]
    source = read_source(raw, read_corrections(), mends)
    publisher = Publisher("https://slurm.example.org", "lab", ())
    faults = faults_of(cut(source, lambda *_: frozenset(), publisher))
    if slurm_release.release.slurm == NEEDED.get(left_out.__name__):
        assert faults
