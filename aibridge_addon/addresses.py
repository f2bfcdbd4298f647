"""Classifies IP addresses as public or not, for the egress rules, and makes URLs of them. Pure.

The classification adds to `ipaddress`: IPv6 addresses that embed IPv4 addresses, unusual spellings
of addresses, and public addresses that lead to services inside a cloud.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

EVERYTHING: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))

_PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""RFC 1918, 6598 and 4193; they include the cloud metadata services that are not link-local."""
_CLOUD_SERVICES = frozenset({ip_address("168.63.129.16")})
"""Public addresses that inside a cloud lead to its own services (Azure)."""
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
_GLOBAL_UNICAST = ip_network("2000::/3")
"""The assigned part of IPv6; `is_global` is also true for the unassigned rest."""


def non_public_kind(address: Address) -> str | None:
    """Return the kind of an address that is not public, as an adjective; None if it is public."""
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
    if address in _CLOUD_SERVICES or not address.is_global or not _is_assigned(address):
        return "reserved"
    return None


def _is_assigned(address: Address) -> bool:
    return address.version == 4 or address in _GLOBAL_UNICAST


def carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    """Return True if an address is in one of these networks."""
    return any(address in network for network in networks)


def url_here(host: str, port: int) -> str:
    """Return where clients of this machine find what listens at an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def literal(host: str) -> Address | None:
    """Return the address of a host in any spelling that systems accept; None if it is a name.

    The spellings of `inet_aton` are accepted: 127.1, 0x7f000001, 2130706433, 017700000001.
    """
    try:
        spelled = host.encode("idna").decode("ascii").strip("[]").removesuffix(".")
    except UnicodeError:  # too long, or with an empty label: not a legal name either
        spelled = host.strip("[]").removesuffix(".")
    try:
        return ip_address(spelled)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(spelled))
    except (OSError, ValueError):
        return None
