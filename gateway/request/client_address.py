"""(peer, X-Forwarded-For) -> the address of the client, as far as it can be believed."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

_UNIX_PEER: Final = "unix"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_MAPPED_BITS: Final = 96
_IPV4_PORT_PARTS: Final = 2


class ClientAddress:
    """Walks X-Forwarded-For from the right, over trusted proxies only.

    Each proxy appends the address it saw, so the rightmost entry is the only one that the peer
    vouches for, and so on to the left for as long as the address found is itself a trusted proxy.
    A peer that is not trusted is the client, whatever it claims.
    """

    def __init__(self, trusted_proxies: Sequence[str], *, trust_unix_peer: bool) -> None:
        self._networks = [_network(text) for text in trusted_proxies]
        self._trust_unix_peer = trust_unix_peer
        self._cached_walk = lru_cache(maxsize=1024)(self._walk)

    def __call__(self, peer: str | None, forwarded_for: bytes) -> str:
        """`peer` is the address of the socket's other end, None for a UNIX socket.

        Answers an IP address, or "unix" where a UNIX socket's peer forwards for nobody.
        """
        return self._cached_walk(peer, forwarded_for)

    def _walk(self, peer: str | None, forwarded_for: bytes) -> str:
        nearest = _UNIX_PEER if peer is None else _address(peer)
        if nearest is None:
            return str(peer)
        for entry in reversed(forwarded_for.decode("latin-1").split(",")):
            if not self._is_trusted(nearest):
                break
            address = _address(entry.strip(" \t"))
            if address is None:
                # Left of an unreadable entry nobody trusted has spoken.
                break
            nearest = address
        return str(nearest)

    def _is_trusted(self, hop: IPv4Address | IPv6Address | str) -> bool:
        if isinstance(hop, str):
            return self._trust_unix_peer
        return any(hop in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - _MAPPED_BITS))
    return network


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without its zone or port; IPv4 where an IPv6 form stands for one."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1 and text.count(".") == _IPV4_PORT_PARTS + 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
