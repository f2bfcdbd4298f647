"""Which addresses are public, and which lead into somebody's own network. Pure.

`ipaddress` knows what is assigned; what it does not say is that an IPv6 address may lead to an IPv4
one, how many ways there are to spell an address, and what clouds answer at public ones.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

EVERYTHING: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))

_PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""RFC 1918, 6598 and 4193. The metadata services of clouds that are not link-local are in here."""
_OF_CLOUDS = frozenset({ip_address("168.63.129.16")})
"""Addresses that are public, but inside of a cloud lead to its own services: Azure's."""
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
_GLOBAL_UNICAST = ip_network("2000::/3")
"""All of IPv6 that has ever been given out; `is_global` is also true of what may be one day."""


def why_not_public(address: Address) -> str | None:
    """Return what an address is if it is not public: an adjective."""
    address = carried(address)
    if address.is_unspecified:
        return "unspecified"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if is_in(address, _PRIVATE):
        return "private"
    if address in _OF_CLOUDS or not address.is_global or not _is_assigned(address):
        return "reserved"
    return None


def _is_assigned(address: Address) -> bool:
    return address.version == 4 or address in _GLOBAL_UNICAST


def carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, if it is of that kind; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of these networks."""
    return any(address in network for network in networks)


def literal(host: str) -> Address | None:
    """Return the address that a host spells, in any way that systems understand; None: a name.

    Those of `inet_aton` are among them: 127.1, 0x7f000001, 2130706433, 017700000001.
    """
    try:
        spelled = host.encode("idna").decode("ascii").strip("[]").removesuffix(".")
    except UnicodeError:  # too long, or with an empty label: no name either
        spelled = host.strip("[]").removesuffix(".")
    try:
        return ip_address(spelled)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(spelled))
    except (OSError, ValueError):
        return None
