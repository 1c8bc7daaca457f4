"""Whatever a gateway, or what stands in its place, answers is JSON or one sentence with an exit code."""

from collections.abc import Iterator

import httpx2
import pytest

from gateway.client.api_version import find_version, number_of
from gateway.client.asking import Gateway, open_http
from gateway.client.place import Place
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, asked, problem, scripted_gateway

JOBS = "GET /slurm/v0.0.42/jobs"


@pytest.fixture
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


@pytest.fixture
def gateway(scripted: ScriptedGateway) -> Iterator[Gateway]:
    with asked(scripted) as made:
        yield made


def test_an_answer_is_json_and_the_token_goes_in_the_header(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    scripted.tell(JOBS, Told(200, {"jobs": []}))
    answer = gateway.ask("GET", "/slurm/v0.0.42/jobs", parameters={"update_time": "0"})
    assert answer.content == {"jobs": []}
    (heard,) = scripted.heard
    assert heard.target == "/slurm/v0.0.42/jobs?update_time=0"
    assert heard.headers["authorization"] == "Bearer token-of-a-test"


def test_one_byte_that_is_no_utf_8_ends_no_list(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    scripted.tell(JOBS, Told(200, b'{"jobs": [{"name": "odd\xff"}]}'))
    answer = gateway.ask("GET", "/slurm/v0.0.42/jobs")
    assert answer.content == {"jobs": [{"name": "odd\ufffd"}]}


def test_a_token_that_is_refused_is_replaced_once(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    scripted.tell(JOBS, problem("token-invalid", 401), Told(200, {"jobs": []}))
    assert gateway.ask("GET", "/slurm/v0.0.42/jobs").status == 200
    tokens = [one.headers["authorization"] for one in scripted.heard]
    assert tokens == ["Bearer token-of-a-test", "Bearer token-of-a-test-renewed"]


def test_a_token_that_is_refused_again_is_no_loop(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    scripted.tell(JOBS, problem("token-invalid", 401))
    with pytest.raises(Trouble) as raised:
        gateway.ask("GET", "/slurm/v0.0.42/jobs")
    assert len(scripted.heard) == 2
    assert raised.value.code is Exit.NOT_PERMITTED
    assert "slurm-gateway login" in raised.value.remedy


def test_what_came_too_often_is_asked_again_when_the_gateway_says_so(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    busy = problem("rate-exceeded", 429, headers={"Retry-After": "2"})
    scripted.tell(JOBS, busy, busy, Told(200, {"jobs": []}))
    assert gateway.ask("GET", "/slurm/v0.0.42/jobs").status == 200
    assert scripted.pauses == [2.0, 2.0]


def test_nobody_waits_for_ever(scripted: ScriptedGateway, gateway: Gateway) -> None:
    scripted.tell(JOBS, problem("rate-exceeded", 429, headers={"Retry-After": "1"}))
    with pytest.raises(Trouble, match="rate-exceeded"):
        gateway.ask("GET", "/slurm/v0.0.42/jobs")
    assert scripted.pauses == [1.0] * 5
    scripted.tell(JOBS, problem("rate-exceeded", 429, headers={"Retry-After": "900"}))
    with pytest.raises(Trouble, match="rate-exceeded"):
        gateway.ask("GET", "/slurm/v0.0.42/jobs")
    assert len(scripted.pauses) == 5


@pytest.mark.parametrize(
    ("told", "code", "says", "remedy"),
    [
        (problem("operation-unlisted", 403), Exit.NOT_PERMITTED, "operation-unlisted", "role"),
        (problem("user-unknown", 403), Exit.NOT_PERMITTED, "user-unknown", "account"),
        (
            problem("rate-exceeded", 429, headers={"Retry-After": "70"}),
            Exit.UNAVAILABLE,
            "request r1",
            "try again in 70 s",
        ),
        (problem("upstream-unreachable", 502), Exit.UNAVAILABLE, r"No\.", "in a moment"),
        (problem("outcome-unknown", 409), Exit.UNDECIDED, "outcome-unknown", "jobs"),
        (problem("parameter-invalid", 400, detail="x"), Exit.REFUSED_BY_SLURM, "No: x.", ""),
        (
            Told(500, {"errors": [{"error": "Invalid partition", "error_number": 2000}]}),
            Exit.REFUSED_BY_SLURM,
            r"Slurm says: Invalid partition \(2000\)\.",
            "",
        ),
        (
            Told(500, {"errors": [{"error": "unknown job 9", "error_code": 0}]}),
            Exit.REFUSED_BY_SLURM,
            r"Slurm says: unknown job 9\.",
            "",
        ),
        (Told(500, {"errors": []}), Exit.REFUSED_BY_SLURM, "without a word", ""),
        (Told(500, {"errors": "x"}), Exit.REFUSED_BY_SLURM, "without a word", ""),
        (Told(404, b"Unable to find", "text/plain"), Exit.REFUSED_BY_SLURM, "says 404", ""),
        (
            Told(200, b"<html>Please log in</html>", "text/html"),
            Exit.UNREADABLE_ANSWER,
            "text/html",
            "address",
        ),
        (Told(200, b"[]"), Exit.UNREADABLE_ANSWER, "no gateway does", "address"),
        (Told(200, b'{"jobs": '), Exit.UNREADABLE_ANSWER, "no gateway does", "address"),
        (Told(502, b"<html>Bad gateway", "text/html"), Exit.UNAVAILABLE, "502", "in a moment"),
        (Told(503, b"no server", "text/plain"), Exit.UNAVAILABLE, "503", "in a moment"),
        (Told(404, b"<html>Not here", "text/html"), Exit.UNREADABLE_ANSWER, "404", "address"),
        (
            Told(302, b"", "text/html", {"Location": "https://evil.example/"}),
            Exit.UNREADABLE_ANSWER,
            "evil.example",
            "own address",
        ),
        (
            problem("x\x1b[2Jy", 403, title="\x1b]0;owned\x07"),
            Exit.NOT_PERMITTED,
            "owned",
            "",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Exit) else "",
)
def test_every_other_answer_is_a_sentence(  # noqa: PLR0917 (one for each column)
    scripted: ScriptedGateway, gateway: Gateway, told: Told, code: Exit, says: str, remedy: str
) -> None:
    scripted.tell(JOBS, told)
    with pytest.raises(Trouble, match=says) as raised:
        gateway.ask("GET", "/slurm/v0.0.42/jobs")
    assert raised.value.code is code
    assert remedy in raised.value.remedy
    assert raised.value.sentence.isprintable()
    assert "token-of-a-test" not in str(raised.value.facts())


def test_a_redirect_never_carries_the_token_away(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    with scripted_gateway() as other:
        scripted.tell(JOBS, Told(307, b"", "text/html", {"Location": f"{other.url}/x"}))
        with pytest.raises(Trouble):
            gateway.ask("GET", "/slurm/v0.0.42/jobs")
        assert other.heard == []


def test_a_gateway_that_is_away_is_named() -> None:
    with scripted_gateway() as gone:
        url = gone.url
    with httpx2.Client() as http, pytest.raises(Trouble, match="cannot be reached") as raised:
        Gateway(Place(url), http, lambda *, refused="": "t" + refused).ask("GET", "/x")
    assert raised.value.code is Exit.UNAVAILABLE
    assert url in raised.value.sentence


def test_a_file_of_authorities_that_is_none_is_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    for text in (None, "no certificate"):
        if text is not None:
            file.write_text(text)
        with pytest.raises(Trouble, match=r"ca\.pem") as raised:
            open_http(file, 1)
        assert raised.value.code is Exit.NO_INPUT


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({45: Told(200, {"pings": []})}, "v0.0.45"),
        ({42: Told(200, {"pings": []}), 41: Told(200, {"pings": []})}, "v0.0.42"),
        ({36: Told(200, {"pings": []})}, "v0.0.36"),
        ({38: Told(500, {"errors": [{"error": "down", "error_number": 1800}]})}, "v0.0.38"),
    ],
    ids=["the newest", "the newer of two", "the oldest", "slurmctld is down"],
)
def test_the_newest_version_that_is_served_is_found(
    scripted: ScriptedGateway, gateway: Gateway, answers: dict[int, Told], found: str
) -> None:
    for number, told in answers.items():
        scripted.tell(f"GET /slurm/v0.0.{number}/ping", told)
    assert find_version(gateway) == found


def test_no_version_at_all_is_a_sentence(scripted: ScriptedGateway, gateway: Gateway) -> None:
    with pytest.raises(Trouble, match=r"no API version from v0\.0\.36 to v0\.0\.45"):
        find_version(gateway)
    for number in range(36, 46):
        scripted.tell(f"GET /slurm/v0.0.{number}/ping", problem("operation-unlisted", 403))
    with pytest.raises(Trouble, match="lets you ping the cluster in no API version") as raised:
        find_version(gateway)
    assert raised.value.code is Exit.NOT_PERMITTED


def test_a_refusal_that_has_nothing_to_do_with_versions_ends_the_search(
    scripted: ScriptedGateway, gateway: Gateway
) -> None:
    scripted.tell("GET /slurm/v0.0.45/ping", problem("user-unknown", 403))
    with pytest.raises(Trouble, match="user-unknown"):
        find_version(gateway)
    assert len(scripted.heard) == 1


@pytest.mark.parametrize("status", [200, 404, 502, 503])
def test_a_strangers_answer_says_nothing_of_versions(
    scripted: ScriptedGateway, gateway: Gateway, status: int
) -> None:
    """Nor is one remembered by it: a proxy in front of a gateway that restarts says such things."""
    scripted.tell("GET /slurm/v0.0.45/ping", Told(status, b"<html>", "text/html"))
    with pytest.raises(Trouble, match="no gateway does"):
        find_version(gateway)
    assert len(scripted.heard) == 1


@pytest.mark.parametrize("version", ["42", "v0.0.4", "v0.0.421", "v1.0.42", "", "v0.0.42/../x"])
def test_an_api_version_has_one_form(version: str) -> None:
    with pytest.raises(Trouble) as raised:
        number_of(version)
    assert raised.value.code is Exit.WRONG_CALL
