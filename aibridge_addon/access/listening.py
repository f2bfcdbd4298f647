"""Addresses that the proxy listens on: refuses to start as an open proxy, and finds host names."""

import ipaddress
import socket
from collections.abc import Iterator

from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import (
    ProxyMode,
    RegularMode,
    ReverseMode,
    Socks5Mode,
    TransparentMode,
    UpstreamMode,
)

from aibridge_addon.access.proxyauth import uses_proxyauth

_LISTENING = RegularMode | ReverseMode | UpstreamMode | Socks5Mode | TransparentMode
_ALL_ADDRESSES = ("", "0.0.0.0", "::")  # noqa: S104 to be compared with


class OpenProxyError(Exception):
    """Anybody could use the proxy; the message says which listener is open and what to do."""


def check_not_open(options: Options, *, requires_token: bool) -> None:
    """Check that clients on other machines, if they can connect, are authenticated.

    Args:
        options: mitmproxy's options.
        requires_token: True if access tokens are required.

    Raises:
        OpenProxyError: they are not.
    """
    if requires_token or uses_proxyauth(options) or not options.server:
        return
    for mode, host in _listening(options):
        if not is_loopback(host):
            raise OpenProxyError(
                f"the {mode.type_name} proxy on {host or 'all addresses'} could be used by anybody"
                " who can connect to this machine, and through a reverse proxy your keys too."
                " Require access tokens (aibridge token create …, or --set"
                " aibridge_require_token=always) or a login (--set proxyauth=user:password),"
                " listen on 127.0.0.1 (--listen-host), or, if something in front of it"
                " authenticates its users, allow it (aibridge proxy --allow-open, or --set"
                " aibridge_allow_open=true)"
            )


def is_private(options: Options, *, requires_token: bool) -> bool:
    """Return True if only one person is likely to use the proxy: nobody else can connect.

    A proxy on loopback that asks for tokens or a login is one behind another proxy.
    """
    if requires_token or uses_proxyauth(options):
        return False
    return all(is_loopback(host) for _, host in _listening(options))


def is_loopback(host: str) -> bool:
    """Return True if only this machine can connect to a listening address."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # mitmproxy reports the error when it listens
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def listened_names(options: Options) -> frozenset[str]:
    """Return the host names of the addresses that the proxy listens on, in lower case."""
    hosts = {host.lower() for _, host in _listening(options)}
    if not hosts.isdisjoint(_ALL_ADDRESSES):
        hosts.add(socket.gethostname().lower())
    return frozenset(hosts - set(_ALL_ADDRESSES))


def _listening(options: Options) -> Iterator[tuple[ProxyMode, str]]:
    for spec in options.mode:
        mode = ProxyMode.parse(spec)
        if isinstance(mode, _LISTENING):
            yield mode, mode.listen_host(options.listen_host)
