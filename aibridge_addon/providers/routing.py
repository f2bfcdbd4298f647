"""Routes requests to provider instances: (host, path, method) -> `Route`. Pure.

Forward mode relays every request to a provider host, since the key is the client's own. Reverse
mode may add a central key, so it allows only the routes and methods of the provider type. Paths are
compared as the provider sees them, with doubled slashes of base URLs collapsed. The path of a
signed request is not changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from aibridge_addon.addresses import literal
from aibridge_addon.formats import FORMATS
from aibridge_addon.providers.hosts import HostTable, bare_host
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.known_hosts import preset_of_host
from aibridge_addon.providers.paths import collapse_slashes, has_dot_segment
from aibridge_addon.providers.secret_names import may_create_keys
from aibridge_addon.providers.types import RouteTemplate

_MOST_SEGMENTS = 2
"""Segments of the longest route of a model call."""

OTHER = "other"
"""Label of a path that no row of the table matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The address that replaces the destination of a request."""

    scheme: str
    host: str
    port: int
    path: str
    """Path with the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The decision on a request: provider, wire format and destination."""

    provider: Provider
    label: str
    """Template of the route: from a bounded set, unlike a path."""
    api: str | None
    """The wire format if the request is bridged; None if it passes through."""
    counts_for: str | None = None
    """The wire format of the requests whose tokens it counts."""
    socket: str | None = None
    """The wire format of a WebSocket on this route."""
    names_models: bool = True
    """True if a request can name a model."""
    creates_keys: bool = False
    """True if its responses hold a new key."""
    upstream: Upstream | None
    """The destination; None: as the client chose."""
    path: str | None = None
    """Path and query that replace the client's, if nothing else changes."""
    path_values: Mapping[str, str] = field(default_factory=dict)
    """Values that the row's template captures in the path, such as `model`."""
    template: RouteTemplate | None = None
    """The row of the table; None if no row matches."""

    @property
    def is_read(self) -> bool:
        """True if requests, or the messages of a WebSocket, are read, and may be edited."""
        return (self.api or self.counts_for or self.socket) is not None

    @property
    def free_members(self) -> frozenset[str] | None:
        """Members of the body of a request that costs nothing; None: any may cost money."""
        return self.template.free_members if self.template else None

    def path_below(self, path: str) -> str | None:
        """Return the part of a path that the row matches, with the query; None if none does.

        Args:
            path: of the request, as it is sent; its model may be another than `path_values` has.
        """
        template, (bare, mark, query) = self.template, path.partition("?")
        if template is None:
            return None
        for base in self.provider.base_paths:
            below = bare.removeprefix(base)
            if bare.startswith(base) and template.match(below) is not None:
                return below + mark + query
        return template.path + mark + query if bare.endswith(template.path) else None

    @property
    def makes_objects(self) -> bool:
        """True if later requests name what a recorded request makes at the provider."""
        return self.bills_later or (self.api is not None and FORMATS[self.api].makes_objects)

    @property
    def bills_later(self) -> bool:
        """True if a recorded request is a batch, whose cost is known when it has ended."""
        return self.api is not None and FORMATS[self.api].bills_later


class Router:
    """Finds routes among the configured provider instances."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._targets = {name: _targets(provider) for name, provider in self._providers.items()}
        self._by_host = HostTable(
            (host, self._targets[provider.name])
            for provider in self._providers.values()
            for host in provider.hosts
        )

    @property
    def reverse_prefixes(self) -> list[str]:
        """Prefixes of reverse-proxy paths, except those of optional instances."""
        targets = (target for found in self._targets.values() for target in found)
        return [
            target.reverse_prefix
            for target in targets
            if target.host and not target.provider.is_optional
        ]

    def is_provider_host(self, host: str) -> bool:
        """Return whether a host belongs to an instance, so that its connections are intercepted."""
        return host in self._by_host

    def tunnels_to(self, host: str, port: int) -> list[Provider]:
        """Return the instances at an address whose connections are tunnelled, unseen."""
        if self.is_provider_host(host):
            return []
        asked = (_comparable(host), port)
        providers = self._providers.values()
        return [there for there in providers if (_comparable(there.host), there.port) == asked]

    def forward(
        self, host: str, path: str, method: str, *, is_signed: bool = False
    ) -> Route | None:
        """Route a request to the forward proxy; None if its host belongs to no instance.

        A host that only a pattern matches is the destination too, whatever the base URL is.
        """
        if targets := self._by_host.exact(host):
            goes_elsewhere = not targets[0].is_at(host)
        elif targets := self._by_host.by_pattern(host):
            goes_elsewhere = False
        else:
            return None
        found = (
            target.forward(path, method, goes_elsewhere=goes_elsewhere, is_signed=is_signed)
            for target in targets
        )
        route = next(filter(None, found), None)
        return route or targets[0].other(path, goes_elsewhere=goes_elsewhere)

    def reverse(self, path: str, method: str, *, target_host: str = "") -> Route | None:
        """Route a request to the reverse proxy; None if it is not allowed.

        A path without an instance's name belongs to the instance of `target_host`, the target of
        the reverse mode.
        """
        path = collapse_slashes(path)
        if targets := self._targets.get(_instance_name(path)):
            found = (
                target.reverse(path, method, prefix=target.reverse_prefix) for target in targets
            )
        elif targets := self._by_host.exact(target_host):
            found = (target.reverse(path, method, prefix=target.prefix) for target in targets)
        else:
            targets = self._by_host.by_pattern(target_host) or ()
            found = (target.reverse_to_target(path, method) for target in targets)
        return next(filter(None, found), None)

    def at_instance(self, name: str, route: Route, path: str, method: str) -> Route | None:
        """Route a request of another instance to this one; None if it has no such route.

        Args:
            name: of the instance.
            route: of the request until now.
            path: below the base URL, with the query.
            method: of the request.
        """
        for target in self._targets.get(name, ()):
            if target.provider.type == route.provider.type:
                prefix = target.reverse_prefix
                return target.reverse(prefix + path, method, prefix=prefix)
        return None

    def instance_of(self, path: str) -> Provider | None:
        """Return the instance that a reverse-proxy path names, even if its route is not allowed."""
        return self._providers.get(_instance_name(collapse_slashes(path)))


def _targets(provider: Provider) -> tuple["_Target", ...]:
    """Return the targets of an instance: one for each provider type that its host speaks."""
    targets = (_Target(provider, provider.reverse_prefix),)
    if (other := provider.as_anthropic) is None:
        return targets
    return *targets, _Target(other, f"/{provider.name}/{other.type}")


class _Target:
    """An instance with the parts of its base URL, which every request needs."""

    def __init__(self, provider: Provider, reverse_prefix: str) -> None:
        self.provider = provider
        self.reverse_prefix = reverse_prefix
        self._type = provider.provider_type
        self.prefix = self._type.prefix
        self._scheme = provider.scheme
        self.host = provider.host
        self._port = provider.port
        self._base_path = provider.base_path
        self._is_known = preset_of_host(provider.host) is not None
        self._paths = tuple(dict.fromkeys((*provider.base_paths, self.prefix)))

    def is_at(self, host: str) -> bool:
        """Return True if requests to a host are meant for it, and not for the base URL."""
        if host.lower() == self.host:
            return True
        preset = preset_of_host(self.host)
        return preset is not None and preset_of_host(host) is preset

    def forward(
        self, path: str, method: str, *, goes_elsewhere: bool, is_signed: bool
    ) -> Route | None:
        found_at = collapse_slashes(path)
        collapsed = path if is_signed else found_at
        bare = found_at.split("?", 1)[0]
        for prefix in self._paths:
            if bare.startswith(prefix) and (found := self._find(bare[len(prefix) :])):
                upstream = self._upstream(collapsed) if goes_elsewhere else None
                route = self._route(*found, method, upstream)
                return route if collapsed == path else replace(route, path=collapsed)
        if found := self._find_below_unknown_path(bare):
            upstream = self._upstream(path) if goes_elsewhere else None
            return self._route(*found, method, upstream)
        return None

    def _find_below_unknown_path(self, path: str) -> tuple[RouteTemplate, Mapping[str, str]] | None:
        """Find a model call of a known host by the end of its path.

        Routers have a path for each provider behind them, which no table lists.
        """
        if self._is_known:
            segments = path.split("/")[-_MOST_SEGMENTS:]
            for start in range(len(segments)):
                found = self._find("/" + "/".join(segments[start:]))
                if found and found[0].api and not FORMATS[found[0].api].bills_later:
                    return found
        return None

    def other(self, path: str, *, goes_elsewhere: bool) -> Route:
        """Return the route of a path that matches no template."""
        upstream = self._upstream(path) if goes_elsewhere else None
        return Route(
            provider=self.provider,
            label=OTHER,
            api=None,
            creates_keys=may_create_keys(path),
            upstream=upstream,
        )

    def reverse(self, path: str, method: str, *, prefix: str) -> Route | None:
        found = self._allowed(path, method, prefix)
        if found is None or not self.host:
            return None
        return self._route(*found[:2], method, self._upstream(self._base_path + found[2]))

    def reverse_to_target(self, path: str, method: str) -> Route | None:
        """Route a request to the target of the reverse mode, which a pattern matches."""
        for prefix in self._paths:
            if found := self._allowed(path, method, prefix):
                return replace(self._route(*found[:2], method, None), path=prefix + found[2])
        return None

    def _allowed(
        self, path: str, method: str, prefix: str
    ) -> tuple[RouteTemplate, Mapping[str, str], str] | None:
        """Return template, captured values, and the path below a prefix, if it is allowed."""
        if not path.startswith(prefix):
            return None
        bare, mark, query = path[len(prefix) :].partition("?")
        bare = self._type.aliases.get(bare, bare)
        found = self._find(bare)
        if found is None or method not in found[0].methods:
            return None
        if has_dot_segment(bare):  # the upstream might resolve it to a route that is not allowed
            return None
        return *found, bare + mark + query

    def _find(self, path: str) -> tuple[RouteTemplate, Mapping[str, str]] | None:
        for template in self._type.routes:
            if (values := template.match(path)) is not None:
                return template, values
        return None

    def _route(
        self,
        template: RouteTemplate,
        path_values: Mapping[str, str],
        method: str,
        upstream: Upstream | None,
    ) -> Route:
        return Route(
            provider=self.provider,
            label=self._type.prefix + template.path,
            api=template.api if method == "POST" else None,
            counts_for=template.counts_for if method == "POST" else None,
            socket=template.socket if method == "GET" else None,
            names_models=template.names_models,
            creates_keys=template.creates_keys,
            upstream=upstream,
            path_values=path_values,
            template=template,
        )

    def _upstream(self, path: str) -> Upstream:
        return Upstream(
            scheme=self._scheme,
            host=self.host,
            port=self._port,
            path=path if path.startswith("/") else "/" + path,
        )


def _instance_name(path: str) -> str:
    """Return the first segment of a path, which names an instance in reverse mode."""
    return path[1:].split("?", 1)[0].split("/", 1)[0]


def _comparable(host: str) -> str:
    return str(literal(host) or bare_host(host))
