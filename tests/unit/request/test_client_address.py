"""The client's address, where the corpus of heads does not reach: how proxies are configured."""

import pytest

from gateway.request.client_address import ClientAddress


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded_for", "client"),
    [
        ((), "10.0.0.1", b"192.0.2.1", "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", b"192.0.2.1", "192.0.2.1"),
        (("10.0.0.0/31",), "10.0.0.2", b"192.0.2.1", "10.0.0.2"),
        (("::ffff:10.0.0.0/104",), "10.0.0.1", b"192.0.2.1", "192.0.2.1"),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", b"192.0.2.1", "192.0.2.1"),
        (("fe80::/10",), "fe80::1%eth0", b"192.0.2.1", "192.0.2.1"),
        (("10.0.0.0/8", "192.0.2.0/24"), "10.0.0.1", b"8.8.8.8, 192.0.2.1", "8.8.8.8"),
        (("0.0.0.0/0",), "10.0.0.1", b"", "10.0.0.1"),
        (("0.0.0.0/0",), "a-test-client", b"192.0.2.1", "a-test-client"),
    ],
)
def test_only_configured_proxies_are_believed(
    trusted: tuple[str, ...], peer: str, forwarded_for: bytes, client: str
) -> None:
    assert ClientAddress(trusted, trust_unix_peer=False)(peer, forwarded_for) == client


@pytest.mark.parametrize(("trust_unix_peer", "client"), [(True, "192.0.2.1"), (False, "unix")])
def test_a_unix_sockets_peer_is_believed_where_the_site_says_so(
    trust_unix_peer: bool, client: str
) -> None:
    assert ClientAddress((), trust_unix_peer=trust_unix_peer)(None, b"192.0.2.1") == client
