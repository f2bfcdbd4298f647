"""Egress: limits the hosts that clients may connect to, against SSRF (server-side request forgery).

Allowed are public addresses and what the operator names. The limits hold for CONNECT, plain
requests, SOCKS and provider hosts. A name is resolved once, all its addresses are checked, and the
connection is bound to one of them, so that a second lookup cannot differ. Behind an upstream proxy,
which resolves names itself, only addresses can be checked.
"""

import asyncio
import logging
import socket
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
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
    non_public_kind,
)
from aibridge_addon.providers.hosts import is_pattern
from aibridge_addon.providers.instance import Provider

logger = logging.getLogger(__name__)

type Endpoint = tuple[str, int]
"""Host, in lower case, and port."""

LOCALHOST = "localhost"
WEB_PORTS = (80, 443)
MAX_LOGGED_HOSTS = 1000
"""Hosts of each kind of error that are logged, so that clients cannot flood the log."""
PRIVATE_ADDRESS = "private_address"
_REFUSAL = "aibridge: this proxy does not connect to "


class UnreachableError(Exception):
    """A host cannot be connected to; the message gives the reason to the client."""

    status: int
    reason_phrase: str
    """Most programs show nothing else of a response to CONNECT."""


class UnresolvedError(UnreachableError):
    """A name has no address, or no name server responds."""

    status = 502
    reason_phrase = "Host name cannot be resolved by the proxy"


class PrivateAddressError(UnreachableError):
    """An address of the host is not public."""

    status = 403
    reason_phrase = "Private address (see NO_PROXY and aibridge_private_networks)"

    def __init__(self, host: str, kind: str) -> None:
        super().__init__(
            f"{_REFUSAL}{_shown(host)}, since its address is {kind}; add it to NO_PROXY to"
            " connect directly, or to the option aibridge_private_networks to allow it."
        )


class Egress:
    """Checks upstream connections, and binds them to checked addresses."""

    def __init__(self, *, on_refused: Callable[[str], None]) -> None:
        self._endpoints: frozenset[Endpoint] = frozenset()
        self._reverse_only: frozenset[Endpoint] = frozenset()
        """Endpoints of this machine that only the routes of the reverse proxy lead to."""
        self._networks: tuple[Network, ...] = ()
        self._hosts: frozenset[str] = frozenset()
        self._on_refused = on_refused
        self._logged: defaultdict[type[UnreachableError], set[str]] = defaultdict(set)
        self._checked: WeakKeyDictionary[connection.Server, tuple[Endpoint, str]] = (
            WeakKeyDictionary()
        )
        """Host and port of a CONNECT, and the address that was checked for it."""
        self._requested: WeakKeyDictionary[connection.Server, connection.Address] = (
            WeakKeyDictionary()
        )
        """Requested host and port, while the server's address is the checked one."""

    def allow(
        self,
        *,
        providers: Collection[Provider] = (),
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
        local = (provider for provider in providers if _is_local_default(provider))
        self._reverse_only = frozenset((provider.host, provider.port) for provider in local)
        self._networks = networks
        self._hosts = hosts

    # Hooks

    async def check_connect(self, flow: http.HTTPFlow) -> None:
        """Answer a CONNECT to a host that cannot be connected to."""
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
            self._report(error, host, flow.client_conn)
            flow.response = refused_connection_response(type(error), str(error))

    async def bind(self, data: ServerConnectionHookData) -> None:
        """Bind a connection that is about to open to an allowed address, or refuse it.

        mitmproxy finds reusable connections by their requested address, so that `restore` sets it
        again.
        """
        server = data.server
        if server.error or server.address is None or isinstance(data.client.proxy_mode, DnsMode):
            return
        host, port = server.address[:2]
        is_reverse = isinstance(data.client.proxy_mode, ReverseMode)
        if self._is_named(host, port) or (is_reverse and (host, port) in self._reverse_only):
            return
        try:
            found = self._checked_before(server, (host, port)) or await self._resolve(host)
        except UnreachableError as error:
            self._report(error, host, data.client)
            server.error = str(error)
            return
        if found != host:
            self._requested[server] = server.address
            server.address = (found, port)

    def restore(self, server: connection.Server) -> None:
        """Set the requested address again after the attempt to connect, successful or not."""
        if requested := self._requested.pop(server, None):
            # mitmproxy forbids to set the address of an open connection.
            vars(server)["address"] = requested
        if server.error and server.error.startswith("aibridge: "):
            server.error = None  # otherwise mitmproxy answers the next request without a check

    def upstream_proxy_refusal(self, host: str, port: int, client: connection.Client) -> str | None:
        """Return the refusal of a host that an upstream proxy would connect to; None if allowed."""
        if self._is_named(host, port):
            return None
        try:
            self._check_spelled(host)
        except PrivateAddressError as error:
            self._report(error, host, client)
            return str(error)
        return None

    # Rules

    def _is_named(self, host: str, port: int) -> bool:
        """Return True if the operator has named a host, or has allowed all."""
        name = host.lower().removesuffix(".")
        return (
            (name, port) in self._endpoints
            or name in self._hosts
            or self._networks == EVERYTHING
            or (host, port) in _mode_addresses(ctx.options.mode)
        )

    def _forbidden_kind(self, address: Address) -> str | None:
        """Return the kind of an address that is not allowed, such as "private"."""
        kind = non_public_kind(address)
        if kind is None or is_in(address, self._networks):
            return None
        return None if is_in(carried(address), self._networks) else kind

    def _check_spelled(self, host: str) -> None:
        """Check a host that an upstream proxy resolves.

        Raises:
            PrivateAddressError: the host is an address that is not allowed.
        """
        name = host.lower().removesuffix(".")
        if name == LOCALHOST or name.endswith(f".{LOCALHOST}"):  # RFC 6761
            raise PrivateAddressError(host, "loopback")
        if (address := literal(host)) and (kind := self._forbidden_kind(address)):
            raise PrivateAddressError(host, kind)

    def _checked_before(self, server: connection.Server, requested: Endpoint) -> str | None:
        """Return the address that was checked for the CONNECT of a connection."""
        endpoint, found = self._checked.pop(server, (None, None))
        return found if endpoint == requested else None

    async def _resolve(self, host: str) -> str:
        """Look up a host, check all its addresses, and return one of them.

        Raises:
            UnreachableError: an address is not allowed, or the host has no address.
        """
        address = literal(host)
        found = [address] if address else await _look_up(host)
        for address in found:
            if kind := self._forbidden_kind(address):
                raise PrivateAddressError(host, kind)
        # No other address is tried if this one fails, and IPv4 works in more places.
        return str(next((address for address in found if address.version == 4), found[0]))

    def _report(self, error: UnreachableError, host: str, client: connection.Client) -> None:
        if isinstance(error, PrivateAddressError):
            self._on_refused(PRIVATE_ADDRESS)
        name, logged = host.lower(), self._logged[type(error)]
        if name in logged or len(logged) >= MAX_LOGGED_HOSTS:
            return
        logged.add(name)
        logger.warning("%s Requested by %s; logged once per host.", error, client.peername[0])


async def _look_up(host: str) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host,
            None,
            type=socket.SOCK_STREAM,
            flags=socket.AI_ADDRCONFIG,  # no IPv6 addresses without IPv6 connectivity
        )
    except (OSError, ValueError) as error:  # ValueError: not a legal host name
        reason = getattr(error, "strerror", None) or "it is not a host name"
        raise UnresolvedError(f"aibridge: {_shown(host)} cannot be resolved: {reason}.") from error
    return [ip_address(address[0]) for *_, address in found]


def _endpoints(providers: Iterable[Provider]) -> Iterator[Endpoint]:
    """Yield the endpoints of provider instances: their URLs, and the web ports of their hosts.

    Patterns are left out: the operator does not know the addresses of all hosts that match.
    """
    for provider in providers:
        if provider.base_url and not _is_local_default(provider):
            yield provider.host, provider.port
        for host in filter(lambda host: not is_pattern(host), provider.hosts):
            # At an address, `base_url` may be one of several servers of a machine.
            if literal(host) is None and host != LOCALHOST:
                yield from ((host, port) for port in (*WEB_PORTS, provider.port))


def _is_local_default(provider: Provider) -> bool:
    """Return True if an instance is on this machine, and nobody has configured it."""
    return provider.is_optional and provider.scheme == "http"


def _mode_addresses(specs: Iterable[str]) -> Iterator[connection.Address]:
    """Yield the addresses of upstream proxies, and the targets of reverse modes."""
    for spec in specs:
        mode = ProxyMode.parse(spec)
        if isinstance(mode, ReverseMode | UpstreamMode):
            yield mode.address


def refused_connection_response(kind: type[UnreachableError], message: str) -> http.Response:
    """Return the response to a request for a host that is not connected to."""
    headers = {"content-type": "text/plain; charset=utf-8"}
    response = http.Response.make(kind.status, f"{message}\n", headers)
    response.reason = kind.reason_phrase
    return response


def find_refusal(message: str) -> str | None:
    """Return the refusal of a connection inside an error message of mitmproxy; None if absent."""
    _, found, rest = message.partition(_REFUSAL)
    return found + rest if found else None


def _shown(host: str) -> str:
    text: str = escape_control_characters(host, keep_spacing=False)
    return text[:253]
