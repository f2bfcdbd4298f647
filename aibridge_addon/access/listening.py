"""Which addresses the proxy listens on: whether they are open to others, and their host names."""

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
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 to be compared with


class OpenProxyError(Exception):
    """Anybody could use the proxy; the message says how, and what to do about it."""


def check_not_open(options: Options, *, requires_token: bool) -> None:
    """Check that others than this machine, if they can reach the proxy, must say who they are.

    Raises:
        OpenProxyError: they need not.
    """
    if requires_token or uses_proxyauth(options) or not options.server:
        return
    for mode, host in _listening(options):
        if not is_loopback(host):
            raise OpenProxyError(
                f"the {mode.type_name} proxy on {host or 'all addresses'} could be used by anybody"
                " who reaches this machine, and your keys by a reverse one. Ask for access tokens"
                " (aibridge token create …, or --set aibridge_require_token=always) or a login"
                " (--set proxyauth=user:password), listen on 127.0.0.1 (--listen-host), or, if"
                " something before it knows its users, allow it (aibridge proxy --allow-open, or"
                " --set aibridge_allow_open=true)"
            )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens there."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # mitmproxy will say what is wrong with it
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def listened_names(options: Options) -> frozenset[str]:
    """Return the host names that clients may use for the addresses that the proxy listens on."""
    hosts = {host.lower() for _, host in _listening(options)}
    if not hosts.isdisjoint(_EVERYWHERE):
        hosts.add(socket.gethostname().lower())
    return frozenset(hosts - set(_EVERYWHERE))


def _listening(options: Options) -> Iterator[tuple[ProxyMode, str]]:
    for spec in options.mode:
        mode = ProxyMode.parse(spec)
        if isinstance(mode, _LISTENING):
            yield mode, mode.listen_host(options.listen_host)
