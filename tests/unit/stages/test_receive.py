"""Receive: what its settings do, and what a refusal tells. The attacks stand in tests/security/corpus."""

from collections.abc import Sequence

import pytest

from gateway.denial import Denied, Reason
from gateway.model import InboundRequest, Target
from gateway.stages.receive import Receive

Headers = Sequence[tuple[bytes, bytes]]
HOST = (b"host", b"slurm.example.org")
JSON_BODY = [HOST, (b"content-type", b"application/json"), (b"content-length", b"2")]


def ask(
    receive: Receive, headers: Headers = (HOST,), method: str = "GET", target: bytes = b"/a"
) -> InboundRequest:
    return receive(method, target, headers, "192.0.2.7", "request-1")


def refusal_of(
    receive: Receive, headers: Headers = (HOST,), method: str = "GET", target: bytes = b"/a"
) -> Denied:
    with pytest.raises(Denied) as refusal:
        ask(receive, headers, method, target)
    return refusal.value


def test_a_request_comes_out_as_its_type_says() -> None:
    headers = [
        *JSON_BODY,
        (b"authorization", b"Bearer t0ken"),
        (b"accept", b"*/*"),
        (b"expect", b"100-continue"),
        (b"x-forwarded-for", b"198.51.100.1"),
        (b"x-slurm-user-name", b"root"),
    ]
    receive = Receive(trusted_proxies=["192.0.2.0/24"])
    request = ask(receive, headers, "POST", b"/slurm/v0.0.42/job/submit/?a=%31")
    assert request.bearer is not None
    assert request.bearer.reveal == "t0ken"
    assert request._replace(bearer=None) == InboundRequest(
        request_id="request-1",
        method="POST",
        target=Target("/slurm/v0.0.42/job/submit", (("a", "1"),)),
        bearer=None,
        accept="application/json",
        length=2,
        media_type="application/json",
        expects_continue=True,
        client_address="198.51.100.1",
        forwarded_for="198.51.100.1",
    )


def test_a_token_shows_in_no_repr() -> None:
    request = ask(Receive(), [HOST, (b"authorization", b"Bearer Canary-7f3a")])
    assert "Canary" not in repr(request)


@pytest.mark.parametrize(
    "value", [b"Bearer Canary-7f3a x", b"Canary-7f3a: x", b"Bearer Canary\xe9"]
)
def test_a_refusal_shows_nothing_of_a_token(value: bytes) -> None:
    denied = refusal_of(Receive(), [HOST, (b"authorization", value)])
    assert denied.reason is Reason.AUTHORIZATION_MALFORMED
    assert "Canary" not in denied.note + denied.detail


def test_a_refused_method_is_told_which_there_are() -> None:
    denied = refusal_of(Receive(), method="PATCH")
    assert denied.reason is Reason.METHOD_NOT_ALLOWED
    assert denied.headers == (("Allow", "GET, POST, DELETE"),)


@pytest.mark.parametrize(
    ("accept_yaml", "types"),
    [(False, "application/json"), (True, "application/json, application/x-yaml")],
)
def test_a_refused_body_is_told_which_types_there_are(accept_yaml: bool, types: str) -> None:
    headers = [HOST, (b"content-length", b"2"), (b"content-type", b"text/plain")]
    denied = refusal_of(Receive(accept_yaml=accept_yaml), headers, "POST")
    assert denied.reason is Reason.MEDIA_TYPE_UNSUPPORTED
    assert denied.headers == (("Accept", types),)


@pytest.mark.parametrize("name", [b"application/x-yaml", b"application/yaml", b"text/yaml"])
def test_yaml_is_taken_where_it_is_switched_on_by_the_name_every_release_knows(name: bytes) -> None:
    headers = [HOST, (b"content-length", b"2"), (b"content-type", name)]
    assert ask(Receive(accept_yaml=True), headers, "POST").media_type == "application/x-yaml"


@pytest.mark.parametrize("length", [40, 600])
def test_the_longest_url_is_a_setting(length: int) -> None:
    receive = Receive(maximum_url_bytes=length)
    longest = b"/" + b"a" * (length - 1)
    assert ask(receive, target=longest).target.path == longest.decode()
    assert refusal_of(receive, target=longest + b"a").reason is Reason.TARGET_TOO_LONG


def test_the_size_of_a_header_is_a_setting() -> None:
    fields = [HOST, (b"x", b"a" * 30)]
    size = sum(len(name) + len(value) + 4 for name, value in fields)
    assert ask(Receive(maximum_header_bytes=size), fields)
    denied = refusal_of(Receive(maximum_header_bytes=size - 1), fields)
    assert denied.reason is Reason.HEADERS_TOO_LARGE


def test_the_number_of_fields_is_a_setting() -> None:
    assert ask(Receive(maximum_header_fields=2), [HOST, (b"x", b"a")])
    denied = refusal_of(Receive(maximum_header_fields=1), [HOST, (b"x", b"a")])
    assert denied.reason is Reason.HEADERS_TOO_LARGE


def test_what_was_refused_once_is_refused_again() -> None:
    """The caches hold only what was found good."""
    receive = Receive()
    for _ in range(2):
        assert refusal_of(receive, target=b"//").reason is Reason.TARGET_MALFORMED
        assert refusal_of(receive, [(b"host", b"a/b")]).reason is Reason.HOST_INVALID
        not_acceptable = refusal_of(receive, [HOST, (b"accept", b"text/html")])
        assert not_acceptable.reason is Reason.NOT_ACCEPTABLE


def test_a_refused_head_has_an_address_too() -> None:
    receive = Receive(trusted_proxies=["192.0.2.0/24"])
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b" 198.51.100.1 ")]
    found = ("198.51.100.1", "203.0.113.9, 198.51.100.1")
    assert receive.client(headers, "192.0.2.7") == found


def test_of_a_long_forwarded_for_the_end_is_kept_where_trusted_proxies_write() -> None:
    value = b"x" * 2000 + b", 198.51.100.1"
    request = ask(Receive(trusted_proxies=["192.0.2.7"]), [HOST, (b"x-forwarded-for", value)])
    assert request.client_address == "198.51.100.1"
    assert len(request.forwarded_for) == 1024
    assert request.forwarded_for.endswith("x, 198.51.100.1")


def test_an_idempotency_key_is_read_with_and_without_quotes() -> None:
    for value in (b'"key-1"', b"key-1", b" key-1\t"):
        assert ask(Receive(), [HOST, (b"idempotency-key", value)]).idempotency_key == "key-1"
    assert ask(Receive()).idempotency_key == ""


@pytest.mark.parametrize("values", [[b""], [b"a b"], [b"x" * 256], [b"a", b"a"], [b'"a", "b"']])
def test_an_idempotency_key_with_several_readings_is_refused(values: list[bytes]) -> None:
    headers = [HOST, *((b"idempotency-key", value) for value in values)]
    assert refusal_of(Receive(), headers).reason is Reason.IDEMPOTENCY_KEY_INVALID
