"""mitmproxy's own authentication of clients, its option `proxyauth`."""

from mitmproxy.options import Options


def uses_proxyauth(options: Options) -> bool:
    """Return True if mitmproxy requires a login from its clients."""
    return bool(getattr(options, "proxyauth", None))
