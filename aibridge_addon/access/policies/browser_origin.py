"""Policy: web pages cannot use the central key and central tools, except from allowed origins.

A browser sends a page's requests to any address it can connect to, so that a foreign page could use
the proxy on its visitor's machine. Requests with an access token are allowed. DNS rebinding makes a
foreign page same-origin with the proxy, so that the host name is checked as well.
"""

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.addresses import literal

ANY = "*"
_CROSS_SITE = "cross-site"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserOrigin:
    """Refuses foreign origins and host names to requests without an access token."""

    allowed_origins: frozenset[str] = frozenset()
    """As `normalized_origin` returns them; `*`: all."""
    allowed_hosts: frozenset[str] = frozenset()
    """Host names in lower case; `*`: all."""
    is_constant: ClassVar[bool] = True

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request from a foreign page, or to a foreign host name."""
        admission = asked.sender.admission
        if admission.is_authenticated or not asked.uses_operator_resources:
            return None
        # Browsers store logins per origin, so that pages of a rebound host name never have them.
        if not admission.has_login and (host := self._foreign_host(asked)):
            return _refusal(
                "foreign_host",
                f"{host} is not a host name of this proxy. Add it to the option"
                " aibridge_allowed_hosts",
            )
        if origin := self._foreign_origin(asked):
            return _refusal(
                "foreign_origin",
                f"web pages of {origin} may not use this proxy. Add the origin to the option"
                " aibridge_allowed_origins",
            )
        return None

    def allows_origin(self, origin: str) -> bool:
        """Return True if an option allows pages of an origin."""
        return ANY in self.allowed_origins or normalized_origin(origin) in self.allowed_origins

    def _foreign_host(self, asked: Asked) -> str | None:
        named = asked.hosts if asked.to_reverse_proxy else ()
        return next((name for name in named if not self._is_ours(host_of(name))), None)

    def _is_ours(self, host: str) -> bool:
        return (
            host == _LOCALHOST
            or host.endswith(f".{_LOCALHOST}")
            or literal(host) is not None
            or not self.allowed_hosts.isdisjoint((host, ANY))
        )

    def _foreign_origin(self, asked: Asked) -> str | None:
        origins = [origin for origin in asked.values(b"origin") if origin]
        others = [origin for origin in origins if not self.allows_origin(origin)]
        if found := next((origin for origin in others if not _is_same(origin, asked.hosts)), None):
            return found
        sites = {value.lower() for value in asked.values(b"sec-fetch-site")}
        # An allowed origin may be another site; without an origin, none is allowed.
        return "another site" if _CROSS_SITE in sites and (others or not origins) else None


def _refusal(reason: str, message: str) -> Refusal:
    text = f"aibridge: {message}, or use an access token (aibridge token create)."
    return Refusal(status=403, reason=reason, message=text, denies_access=True)


def _is_same(origin: str, authorities: tuple[str, ...]) -> bool:
    """Return True if an origin has the host and port of the proxy; the scheme may differ."""
    scheme, found, authority = origin.strip().lower().partition("://")
    if not found or not authority or not authorities:
        return False
    default = _DEFAULT_PORTS.get(scheme, "")
    named = {name.strip().lower().removesuffix(default) for name in authorities}
    return named == {authority.removesuffix(default)}


def normalized_origin(origin: str) -> str:
    """Return an origin in lower case, without the default port of its scheme."""
    origin = origin.strip().lower()
    scheme = origin.partition("://")[0]
    return origin.removesuffix(_DEFAULT_PORTS.get(scheme, ""))


def host_of(authority: str) -> str:
    """Return the host of an authority, in lower case and without a final dot."""
    if "@" in authority:  # no client sends a user here, and parsers disagree about the host
        return authority
    try:
        host = urlsplit(f"//{authority.strip()}").hostname
    except ValueError:
        return authority
    return (host or authority).lower().removesuffix(".")
