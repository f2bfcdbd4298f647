"""Front proxies: servers before this proxy that authenticate people, and name them in a header.

The header counts only if the connection comes from one of the front proxy's networks; it is removed
from every request, so that no provider sees it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from aibridge_addon.addresses import Address, Network, carried, is_in
from aibridge_addon.headers import Fields, ambiguous, lowered
from aibridge_addon.providers.identity import ANONYMOUS, Actor

_MOST_TEAMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontProxy:
    """A front proxy, `[[front_proxies]]`."""

    networks: tuple[Network, ...]
    """Addresses from which it connects."""
    actor_header: str
    """In lower case."""
    teams_header: str | None = None
    """In lower case; its value is a comma-separated list."""

    @property
    def headers(self) -> frozenset[str]:
        """The headers that only this front proxy may set."""
        return frozenset(filter(None, (self.actor_header, self.teams_header)))


def actor_of_front_proxy(
    front_proxies: Collection[FrontProxy], fields: Fields, peer: str
) -> Actor | None:
    """Return the actor that the front proxy at an address names; None if it names nobody.

    Of a header with two different values, a client may have sent one: the request is anonymous
    then, whatever weaker headers name.
    """
    if not front_proxies:
        return None
    headers, doubtful = lowered(fields), ambiguous(fields)
    for front_proxy in front_proxies:
        name = headers.get(front_proxy.actor_header, "").strip()
        is_trusted = is_in(_address(peer), front_proxy.networks)
        if is_trusted and front_proxy.headers & doubtful:
            return Actor(id=ANONYMOUS)
        if name and is_trusted:
            teams = headers.get(front_proxy.teams_header or "", "").split(",")
            named = [team for given in teams[:_MOST_TEAMS] if (team := given.strip())]
            return Actor(id=name, metadata={"teams": named} if named else {})
    return None


def _address(peer: str) -> Address:
    return carried(ip_address(peer.partition("%")[0]))
