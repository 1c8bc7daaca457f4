"""The document that is cut out for somebody: what it leaves out, and what the gateway says in it."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway.denial import Reason
from gateway.openapi.cut import cut
from gateway.openapi.own_part import IssuerFacts, Publisher
from gateway.openapi.source import read_source
from tests.unit.openapi.documents import operation, raw

JOBS = ("GET", "/slurmdb/v0.0.42/jobs")
SUBMIT = ("POST", "/slurm/v0.0.42/job/submit")
CANCEL = ("DELETE", "/slurm/v0.0.42/job/{job_id}")
NAMED = IssuerFacts(
    "https://idp.example.org",
    "https://idp.example.org/.well-known/openid-configuration",
    "https://idp.example.org/authorize",
    "https://idp.example.org/token",
    ("openid", "profile"),
    has_client_credentials=True,
)


def cut_for(
    permitted: Mapping[tuple[str, str], frozenset[str]], *issuers: IssuerFacts
) -> dict[str, Any]:
    publisher = Publisher("https://slurm.example.org/", "lab", issuers)
    return cut(
        read_source(raw(), ()), lambda method, path: permitted.get((method, path)), publisher
    )


def test_only_what_is_permitted_is_left_and_only_what_that_needs() -> None:
    made = cut_for({JOBS: frozenset({"users"}), CANCEL: frozenset()})
    assert list(made["paths"]) == ["/slurmdb/v0.0.42/jobs", "/slurm/v0.0.42/job/{job_id}"]
    assert list(made["paths"]["/slurm/v0.0.42/job/{job_id}"]) == ["delete"]
    assert set(made["components"]["schemas"]) == {"v0.0.42_answer", "v0.0.42_errors", "Problem"}
    assert "v0.0.42_secret" not in orjson.dumps(made).decode()


def test_query_parameters_that_would_be_refused_are_left_out() -> None:
    made = cut_for({JOBS: frozenset({"users"}), CANCEL: frozenset()})
    parameters = made["paths"]["/slurmdb/v0.0.42/jobs"]["get"]["parameters"]
    names = [one["name"] for one in parameters]
    assert [name for name in names if not name.startswith("gateway.")] == ["users"]
    assert (parameters[0]["style"], parameters[0]["explode"]) == ("form", False)
    (job_id,) = made["paths"]["/slurm/v0.0.42/job/{job_id}"]["delete"]["parameters"]
    assert (job_id["name"], job_id["style"], job_id["required"]) == ("job_id", "simple", True)


def test_nobody_may_do_anything_is_a_document_without_paths() -> None:
    made = cut_for({})
    assert made["paths"] == {}
    assert list(made["components"]["schemas"]) == ["Problem"]


def test_the_gateways_own_answers_stand_beside_slurms() -> None:
    made = cut_for({SUBMIT: frozenset(), JOBS: frozenset()})
    submit = made["paths"]["/slurm/v0.0.42/job/submit"]["post"]
    assert list(submit["responses"]) == ["default", "200", "401", "403", "413", "429", "503"]
    assert submit["requestBody"]["required"] is True
    assert set(submit["responses"]["default"]["content"]) == {
        "application/json",
        "application/problem+json",
    }
    # nothing is sent along with a read, so that nothing can be too large
    assert "413" not in made["paths"]["/slurmdb/v0.0.42/jobs"]["get"]["responses"]


def test_a_submission_has_an_example_and_where_keys_are_kept_their_header() -> None:
    source, paths = read_source(raw(), ()), "/slurm/v0.0.42/job/submit"
    for takes_keys in (True, False):
        publisher = Publisher("https://slurm.example.org", "lab", (), takes_keys)
        made = cut(source, lambda *_: frozenset(), publisher)
        submit = made["paths"][paths]["post"]
        example = submit["requestBody"]["content"]["application/json"]["example"]
        assert example["job"]["environment"][0].startswith("PATH=")
        headers = [one["name"] for one in submit["parameters"] if one["in"] == "header"]
        assert headers == (["Idempotency-Key"] if takes_keys else [])
        assert "Idempotency-Key" not in orjson.dumps(made["paths"]["/slurm/v0.0.42/jobs"]).decode()


def test_json_is_to_be_had_even_where_slurm_says_nothing_of_its_answers() -> None:
    """openapi-generator's clients accept what the document names, and a problem alone is a 406."""
    bare = {"get": operation(responses={"200": {"description": "cancelled"}})}
    source = read_source(raw(paths={"/slurm/v0.0.36/x": bare}), ())
    publisher = Publisher("https://slurm.example.org", "lab", ())
    made = cut(source, lambda *_: frozenset(), publisher)
    responses = made["paths"]["/slurm/v0.0.36/x"]["get"]["responses"]
    assert list(responses["200"]["content"]) == ["application/json"]
    both = ["application/json", "application/problem+json"]
    assert list(responses["default"]["content"]) == both


@pytest.mark.parametrize("status", [401, 403, 413, 429, 503])
def test_every_code_of_a_status_is_told(status: int) -> None:
    made = cut_for({SUBMIT: frozenset()})
    reference = made["paths"]["/slurm/v0.0.42/job/submit"]["post"]["responses"][str(status)]["$ref"]
    response = made["components"]["responses"][reference.rpartition("/")[2]]
    for reason in Reason:
        assert (f"`{reason.code}`" in response["description"]) is (reason.status == status)
    assert ("Retry-After" in response.get("headers", {})) is (status in (429, 503))
    assert ("WWW-Authenticate" in response.get("headers", {})) is (status == 401)


def test_server_and_security_are_the_gateways() -> None:
    made = cut_for({JOBS: frozenset()}, NAMED, IssuerFacts("https://other.example.org"))
    assert made["servers"] == [{"url": "https://slurm.example.org"}]
    schemes = made["components"]["securitySchemes"]
    assert list(schemes) == ["bearer", "oauth2_1", "openid_1"]
    assert schemes["oauth2_1"]["flows"]["authorizationCode"] == {
        "authorizationUrl": "https://idp.example.org/authorize",
        "tokenUrl": "https://idp.example.org/token",
        "scopes": {"openid": "", "profile": ""},
    }
    assert "clientCredentials" in schemes["oauth2_1"]["flows"]
    assert schemes["openid_1"]["openIdConnectUrl"] == NAMED.metadata_url
    assert "https://other.example.org" in schemes["bearer"]["description"]
    assert made["security"] == [{"bearer": []}, {"oauth2_1": []}, {"openid_1": []}]
    assert "X-SLURM" not in orjson.dumps(made).decode()


def test_a_document_is_made_without_changing_its_source() -> None:
    source = read_source(raw(), ())
    publisher = Publisher("https://slurm.example.org", "lab", ())
    before = orjson.dumps([dict(one.body) for one in source.operations])
    first = orjson.dumps(cut(source, lambda *_: frozenset(), publisher))
    assert orjson.dumps(cut(source, lambda *_: frozenset(), publisher)) == first
    assert orjson.dumps([dict(one.body) for one in source.operations]) == before


def test_lists_have_the_parameters_by_which_parts_of_them_are_asked_for() -> None:
    made = cut_for({JOBS: frozenset(), CANCEL: frozenset()})
    parameters = {
        one["name"]: one for one in made["paths"]["/slurmdb/v0.0.42/jobs"]["get"]["parameters"]
    }
    assert list(parameters) == [
        f"gateway.{name}"
        for name in ("user", "state", "partition", "account", "fields", "limit", "cursor")
    ]
    assert "RUNNING" in parameters["gateway.state"]["schema"]["items"]["enum"]
    assert all(one["explode"] is False and one["description"] for one in parameters.values())
    (job_id,) = made["paths"]["/slurm/v0.0.42/job/{job_id}"]["delete"]["parameters"]
    assert job_id["name"] == "job_id"
