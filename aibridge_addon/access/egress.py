"""Where clients may have the proxy connect to: public addresses, and what the operator has named.

Not who may ask, which is `proxy.gate`'s business. It holds for all ways to ask: CONNECT, a plain
request, SOCKS, an address that is said to be a provider's. A name is resolved once, all its
addresses are checked, and the connection is bound to one of these; a second answer, which could
differ, is never asked for. Behind an upstream proxy, which resolves names itself, only addresses
can be checked.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from weakref import WeakKeyDictionary

from mitmproxy import connection, ctx, http
from mitmproxy.proxy.mode_specs import DnsMode, ProxyMode, ReverseMode, UpstreamMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.utils.strutils import escape_control_characters

from aibridge_addon.addresses import (
    EVERYTHING,
    Address,
    Network,
    carried,
    is_in,
    literal,
    why_not_public,
)
from aibridge_addon.providers.routing import Provider

logger = logging.getLogger(__name__)

type Endpoint = tuple[str, int]
"""Host, in lower case, and port."""

LOCALHOST = "localhost"
WEB_PORTS = (80, 443)
MOST_TOLD = 1000
"""Hosts that the log tells of, so that nobody can flood it."""
PRIVATE_ADDRESS = "private_address"
_REFUSAL = "aibridge: this proxy does not connect to "


class UnreachableError(Exception):
    """A host is not connected to; the message says why, to the client."""

    status = 502


class PrivateAddressError(UnreachableError):
    """An address of the host is not public."""

    status = 403

    def __init__(self, host: str, kind: str) -> None:
        super().__init__(
            f"{_REFUSAL}{_shown(host)}, since its address is {kind}; name it in NO_PROXY to go"
            " there directly, or in the option aibridge_private_networks to allow it."
        )


class Egress:
    """Decides where connections go, and holds them to it."""

    def __init__(self, *, on_refused: Callable[[str], None]) -> None:
        self._endpoints: frozenset[Endpoint] = frozenset()
        self._networks: tuple[Network, ...] = ()
        self._hosts: frozenset[str] = frozenset()
        self._on_refused = on_refused
        self._told: set[str] = set()
        self._checked: WeakKeyDictionary[connection.Server, tuple[Endpoint, str]] = (
            WeakKeyDictionary()
        )
        """What a CONNECT asked for, and the address that was found."""
        self._asked: WeakKeyDictionary[connection.Server, connection.Address] = WeakKeyDictionary()
        """What was asked for, while the server's address is the one that was found."""

    def allow(
        self,
        *,
        providers: Iterable[Provider] = (),
        networks: tuple[Network, ...] = (),
        hosts: frozenset[str] = frozenset(),
    ) -> None:
        """Replace what clients may connect to besides public addresses.

        Args:
            providers: Provider instances, reached by their URLs and hosts.
            networks: Networks that are not public; `EVERYTHING` allows all.
            hosts: Host names in lower case, whatever their addresses are.
        """
        self._endpoints = frozenset(_endpoints(providers))
        self._networks = networks
        self._hosts = hosts

    # Hooks

    async def check_connect(self, flow: http.HTTPFlow) -> None:
        """Answer a CONNECT to where no connection is made."""
        host, port = flow.request.host, flow.request.port
        if self._is_named(host, port):
            return
        try:
            if isinstance(flow.client_conn.proxy_mode, UpstreamMode):
                self._check_spelled(host)
            else:
                found = await self._resolve(host)
                self._checked[flow.server_conn] = ((host, port), found)
        except UnreachableError as error:
            self._refused(error, host, flow.client_conn)
            flow.response = refused_connection_response(error.status, str(error))

    async def direct(self, data: ServerConnectionHookData) -> None:
        """Bind a connection that is about to be made to an address that is allowed, or forbid it.

        mitmproxy knows connections that it can use again by what was asked for, so that this is put
        back by `connected`.
        """
        server = data.server
        if server.error or server.address is None or isinstance(data.client.proxy_mode, DnsMode):
            return
        host, port = server.address[:2]
        if self._is_named(host, port):
            return
        try:
            found = self._found_before(server, (host, port)) or await self._resolve(host)
        except UnreachableError as error:
            self._refused(error, host, data.client)
            server.error = str(error)
            return
        if found != host:
            self._asked[server] = server.address
            server.address = (found, port)

    def connected(self, server: connection.Server) -> None:
        """Show a connection as what was asked for, whether or not it was made."""
        if asked := self._asked.pop(server, None):
            # mitmproxy guards this while it is open, lest somebody takes it for a new connection.
            vars(server)["address"] = asked
        if server.error and server.error.startswith("aibridge: "):
            server.error = None  # else the next request would be answered without being looked at

    def refusal_beyond(self, host: str, port: int, client: connection.Client) -> str | None:
        """Return why an upstream proxy is not asked for a host, if there is a reason."""
        if self._is_named(host, port):
            return None
        try:
            self._check_spelled(host)
        except PrivateAddressError as error:
            self._refused(error, host, client)
            return str(error)
        return None

    # What is allowed

    def _is_named(self, host: str, port: int) -> bool:
        """Whether the operator has named a host, or that all may be reached."""
        name = host.lower().removesuffix(".")
        return (
            (name, port) in self._endpoints
            or name in self._hosts
            or self._networks == EVERYTHING
            or (host, port) in _of_modes(ctx.options.mode)
        )

    def _why_not(self, address: Address) -> str | None:
        kind = why_not_public(address)
        if kind is None or is_in(address, self._networks):
            return None
        return None if is_in(carried(address), self._networks) else kind

    def _check_spelled(self, host: str) -> None:
        """Check a host that somebody else resolves.

        Raises:
            PrivateAddressError: it is an address that is not allowed.
        """
        name = host.lower().removesuffix(".")
        if name == LOCALHOST or name.endswith(f".{LOCALHOST}"):  # RFC 6761
            raise PrivateAddressError(host, "loopback")
        if (address := literal(host)) and (kind := self._why_not(address)):
            raise PrivateAddressError(host, kind)

    def _found_before(self, server: connection.Server, asked: Endpoint) -> str | None:
        """Return what was found when the client asked for the connection."""
        before, found = self._checked.pop(server, (None, None))
        return found if before == asked else None

    async def _resolve(self, host: str) -> str:
        """Return an address of a host, all of whose addresses are allowed.

        Raises:
            UnreachableError: one of them is not, or there is none.
        """
        address = literal(host)
        found = [address] if address else await _look_up(host)
        for address in found:
            if kind := self._why_not(address):
                raise PrivateAddressError(host, kind)
        # There is no second try at another address: the one that works in more places.
        return str(next((address for address in found if address.version == 4), found[0]))

    def _refused(self, error: UnreachableError, host: str, client: connection.Client) -> None:
        if not isinstance(error, PrivateAddressError):
            return
        self._on_refused(PRIVATE_ADDRESS)
        name = host.lower()
        if name in self._told or len(self._told) >= MOST_TOLD:
            return
        self._told.add(name)
        logger.warning("%s It was asked for by %s; this is said once.", error, client.peername[0])


async def _look_up(host: str) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host,
            None,
            type=socket.SOCK_STREAM,
            flags=socket.AI_ADDRCONFIG,  # no IPv6 where there is none
        )
    except (OSError, ValueError) as error:  # the latter for what can be no name
        why = getattr(error, "strerror", None) or "it is no name of a host"
        raise UnreachableError(f"aibridge: {_shown(host)} cannot be resolved: {why}.") from error
    return [ip_address(address[0]) for *_, address in found]


def _endpoints(providers: Iterable[Provider]) -> Iterator[Endpoint]:
    """Give what the config file names; a host by its name only, and as one of the web."""
    for provider in providers:
        yield provider.host, provider.port
        for host in provider.hosts:
            # By an address, `base_url` may be one server among many on a machine.
            if literal(host) is None and host != LOCALHOST:
                yield from ((host, port) for port in (*WEB_PORTS, provider.port))


def _of_modes(specs: Iterable[str]) -> Iterator[connection.Address]:
    """Give the upstream proxies, and the targets of reverse modes."""
    for spec in specs:
        mode = ProxyMode.parse(spec)
        if isinstance(mode, ReverseMode | UpstreamMode):
            yield mode.address


def refused_connection_response(status: int, message: str) -> http.Response:
    """Return what a client gets that asked for a host which is not connected to."""
    headers = {"content-type": "text/plain; charset=utf-8"}
    made = http.Response.make(status, f"{message}\n", headers)
    if status == PrivateAddressError.status:
        # All that most programs show of the answer to a CONNECT.
        made.reason = "Private address (see NO_PROXY and aibridge_private_networks)"
    return made


def find_refusal(message: str) -> str | None:
    """Return the refusal of a connection that an error of mitmproxy repeats, if it does."""
    _, found, rest = message.partition(_REFUSAL)
    return found + rest if found else None


def _shown(host: str) -> str:
    text: str = escape_control_characters(host, keep_spacing=False)
    return text[:253]
