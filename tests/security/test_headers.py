"""tests/security/corpus/headers.toml -> what receive takes and refuses of a head."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied
from gateway.model import InboundRequest
from gateway.stages.receive import METHODS, Receive

CORPUS = tomllib.loads((Path(__file__).parent / "corpus/headers.toml").read_text())

receive = Receive(trusted_proxies=["10.0.0.0/8", "2001:db8:1::/48"], trust_unix_peer=True)


def why(case: dict[str, Any]) -> str:
    return str(case["why"])


def fields(case: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    encoding = case.get("encoding", "latin-1")
    fill = case.get("fill", "") * case.get("fill_count", 0)
    named: list[tuple[bytes, bytes]] = [
        (name.encode(encoding), value.replace("{fill}", fill).encode(encoding))
        for name, value in case["headers"]
    ] * case.get("repeat", 1)
    if case.get("host", True) and all(name != b"host" for name, _ in named):
        named.insert(0, (b"host", b"slurm.example.org"))
    return named


def received(case: dict[str, Any]) -> InboundRequest:
    peer = case.get("peer", "192.0.2.7")
    return receive(
        case.get("method", "GET"), b"/a", fields(case), None if peer == "unix" else peer, "id"
    )


@pytest.mark.parametrize("case", CORPUS["refused"], ids=why)
def test_a_head_in_doubt_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Denied) as refusal:
        received(case)
    assert refusal.value.reason.code == case["code"]


@pytest.mark.parametrize("case", CORPUS["taken"], ids=why)
def test_a_head_with_one_reading_is_read(case: dict[str, Any]) -> None:
    request = received(case)
    found: dict[str, Any] = request._asdict()
    found["bearer"] = request.bearer.reveal if request.bearer else ""
    found["length"] = -1 if request.length is None else request.length
    wanted = {name: value for name, value in case.items() if name in found and name != "method"}
    assert {name: found[name] for name in wanted} == wanted


NAMES = st.sampled_from(
    b"host authorization content-length transfer-encoding content-type accept expect"
    b" content-encoding x-forwarded-for x-slurm-user-name connection".split()
)
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        b"slurm.example.org|Bearer abc|5|chunked|application/json|*/*|100-continue|gzip"
        b"|10.0.0.1, 192.0.2.1|application/yaml;q=0.3, */*|".split(b"|")
    ),
)


@given(
    st.sampled_from([*METHODS, "PUT", "get", ""]),
    st.binary(max_size=30).map(lambda tail: b"/a" + tail),
    st.lists(st.tuples(st.one_of(NAMES, st.binary(max_size=8)), VALUES), max_size=10),
    st.sampled_from([None, "192.0.2.7", "10.0.0.1", "::1", "fe80::1%eth0", "localhost"]),
)
def test_whatever_comes_it_is_a_request_or_a_refusal(
    method: str, target: bytes, headers: list[tuple[bytes, bytes]], peer: str | None
) -> None:
    """Never another exception; and what comes out is as narrow as its type says."""
    try:
        request = receive(method, target, [(b"host", b"a"), *headers], peer, "id")
    except Denied:
        return
    assert request.method in METHODS
    assert request.accept in ("application/json", "application/x-yaml")
    assert request.media_type == ("" if request.length == 0 else "application/json")
    assert all(" " <= char <= "~" for char in request.forwarded_for)
    if request.bearer is not None:
        assert request.bearer.reveal.isascii()
        assert not set(request.bearer.reveal) & set(' ,;"\r\n')


@given(st.binary(max_size=60), st.sampled_from([None, "10.0.0.1", "2001:db8:1::1"]))
def test_an_address_is_found_for_every_forwarded_for(value: bytes, peer: str | None) -> None:
    """Also for the record of a head that is refused."""
    address, forwarded_for = receive.client([(b"x-forwarded-for", value)], peer)
    assert address
    assert len(forwarded_for) <= 1024
