"""Provider types: their routes, credentials and error shape, and the register of them. Pure.

A provider instance (`instance.Provider`) names its type; `register` adds a type from outside the
package.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from urllib.parse import quote, unquote

from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.providers.credentials import Headers, add_credential_header

MODEL = "model"
"""Placeholder of a route template for the model."""
OWN_MODELS = frozenset({"tuned_model", "endpoint"})
"""Placeholders for a model of the customer's own, which no alias replaces."""

POST = frozenset({"POST"})
READ = frozenset({"GET", "HEAD"})
STORED = frozenset({"GET", "POST", "DELETE"})
"""Methods for objects that clients create, read and delete."""
NO_MEMBERS: frozenset[str] = frozenset()
"""The free members where a body that has any may cost money: an empty one cancels something."""

_PLACEHOLDER = re.compile(r"\{(\+?\w+)\}")


@dataclass(frozen=True, kw_only=True)
class RouteTemplate:
    """A row of a provider type's route table."""

    path: str
    """A path below the type's prefix. `{model}` captures a segment, or a part of one; `{+model}`
    captures slashes too. A path that ends in `/*` matches everything below it."""
    methods: frozenset[str]
    """The methods that reverse mode allows."""
    api: str | None = None
    """The wire format of a bridged route; `POST` is bridged, other methods pass through."""
    counts_for: str | None = None
    """The wire format of the requests whose tokens a `POST` counts."""
    socket: str | None = None
    """The wire format of a WebSocket at this path."""
    names_models: bool = True
    """True if a request can name a model, so that a token's model limits apply."""
    creates_keys: bool = False
    """True if its responses hold a new key, so that they are not shown."""
    free_members: frozenset[str] | None = None
    """A `POST` whose body has no other members costs nothing; None: any unread one may cost."""

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the values that the template captures in a path; None if it does not match.

        Args:
            path: the path below the prefix, without its query.
        """
        if self._pattern is None:
            return _NO_VALUES if path == self.path else None
        found = self._pattern.fullmatch(path)
        return found and {name: unquote(value) for name, value in found.groupdict().items()}

    def with_value(self, path: str, name: str, value: str) -> str:
        """Return a path with another value of a placeholder; every other byte stays as it is.

        Args:
            path: ends as the template says, without its query; a base URL may be before that.
            name: of the placeholder.
            value: not encoded.
        """
        found = self._pattern and re.search(f"(?:{self._pattern.pattern})$", path, re.DOTALL)
        if not found:
            return path
        start, end = found.span(name)
        return path[:start] + quote(value, safe="@:" if ":" in found[name] else "@") + path[end:]

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        """Pattern of the template; None if the path is a plain one."""
        below = self.path.endswith("/*")
        pieces = _PLACEHOLDER.split(self.path.removesuffix("*") if below else self.path)
        if len(pieces) == 1 and not below:
            return None
        pattern = "".join(
            _captured(piece) if number % 2 else _literal(piece)
            for number, piece in enumerate(pieces)
        )
        return re.compile(pattern + (".*" if below else ""), re.DOTALL)


def _captured(name: str) -> str:
    return f"(?P<{name[1:]}>.+)" if name.startswith("+") else f"(?P<{name}>[^/]+)"


def _literal(text: str) -> str:
    return re.escape(text).replace(":", "(?::|%3[Aa])")


_NO_VALUES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderType:
    """The API of a family of providers."""

    name: str
    """Value of `type` in `[[providers]]`, and of the column `provider`."""
    routes: tuple[RouteTemplate, ...]
    """Route table; the first row that matches wins."""
    prefix: str = ""
    """Part of a path before the routes, on the provider's own host and in a reverse-proxy URL."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Paths that reverse mode replaces by another path of the table."""
    error_format: str
    """The wire format of errors on routes that have none of their own."""
    key_header: str = "authorization"
    """Header in which the provider expects a key, in lower case."""
    key_value: str = "Bearer {key}"
    """Template of that header's value."""
    credential_headers: tuple[str, ...] = ()
    """Further headers in which clients send their own key."""
    key_probe: str = "/models"
    """Path, below the base URL, of a list of models that only a valid key can read."""
    key_probe_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that a request to `key_probe` needs besides the key."""
    signing_service: str = ""
    """Service name in AWS signatures of its requests, which the proxy can make; empty: none."""
    regional_url: str = ""
    """Template of the base URL, with `{region}`; empty if it has no regions."""
    client_header: str | None = None
    """A header that only clients of this type send, which tells the type without a route."""

    @property
    def errors(self) -> Format:
        """The wire format whose errors the clients of this type show."""
        return FORMATS[self.error_format]

    def url_in(self, region: str | None) -> str:
        """Return the base URL in a region; empty without a region."""
        return self.regional_url.format(region=region) if region else ""

    def authorization(self, key: str) -> tuple[str, str]:
        """Return name and value of the header that applies a central key."""
        return self.key_header, self.key_value.format(key=key)


def below(prefix: str, routes: Iterable[RouteTemplate]) -> tuple[RouteTemplate, ...]:
    """Return the routes with a longer path, for providers that have the API of another one."""
    return tuple(replace(route, path=prefix + route.path) for route in routes)


_types: dict[str, ProviderType] = {}

PROVIDER_TYPES: Mapping[str, ProviderType] = _types
"""Registered provider types by name."""


def register(added: ProviderType) -> None:
    """Add a provider type, whose formats must be registered.

    Raises:
        ValueError: the name is in use, or a format is unknown.
    """
    if added.name in _types:
        raise ValueError(f"a provider type named {added.name!r} is registered already")
    for name in _formats_of(added) - FORMATS.keys():
        raise ValueError(f"provider type {added.name!r} uses the unknown wire format {name!r}")
    for header in (added.key_header, *added.credential_headers):
        add_credential_header(header)
    _types[added.name] = added


def _formats_of(given: ProviderType) -> set[str]:
    named = {name for row in given.routes for name in (row.api, row.counts_for, row.socket) if name}
    return named | {given.error_format}


def type_of_client(headers: Headers) -> ProviderType:
    """Return the provider type that a client expects, by its headers; by default `openai`."""
    found = (known for known in _types.values() if known.client_header in headers)
    return next(found, _types["openai"])
