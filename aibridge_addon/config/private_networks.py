"""Reader of the option `aibridge_private_networks`. Pure."""

from ipaddress import ip_network
from typing import NamedTuple

from aibridge_addon.addresses import EVERYTHING, Network
from aibridge_addon.config.option_values import quoted, split_list
from aibridge_addon.config.origins import is_host_name

_ALL = "*"


class PrivateNetworks(NamedTuple):
    """Non-public destinations that clients may connect to."""

    networks: tuple[Network, ...] = ()
    """Networks and addresses; `EVERYTHING`: all."""
    hosts: frozenset[str] = frozenset()
    """Host names, in lower case."""


def read_private_networks(value: str) -> PrivateNetworks:
    """Read a comma-separated list of networks, addresses and host names, or *.

    Raises:
        ValueError: an entry is something else.
    """
    entries = [entry.lower() for entry in split_list(value)]
    networks = {entry: network for entry in entries if (network := _network(entry))}
    others = [entry for entry in entries if entry not in networks and entry != _ALL]
    if wrong := [entry for entry in others if not is_host_name(entry)]:
        raise ValueError(
            f"has {quoted(wrong)}; it may list networks such as 10.0.0.0/8, addresses, and host"
            " names, without ports, or be * for all"
        )
    return PrivateNetworks(
        EVERYTHING if _ALL in entries else tuple(networks.values()), frozenset(others)
    )


def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None
