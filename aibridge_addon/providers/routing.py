"""Where a request goes: (host, path, method) -> Route. Pure; knows nothing of mitmproxy.

Forward mode passes everything on, since the key is the client's own: a host that belongs to a
provider instance always has a route. Reverse mode may add a powerful central key, so it allows the
routes and the methods of the table and nothing else.

Paths are compared as the upstream would see them: case and a trailing slash count, the query does
not. Doubled slashes are collapsed first, and the collapsed path goes up: they come from base URLs
that end in a slash.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlsplit

from aibridge_addon.addresses import literal
from aibridge_addon.formats.anthropic_messages import reader as anthropic_messages
from aibridge_addon.formats.openai_chat import reader as openai_chat
from aibridge_addon.formats.openai_responses import compact as openai_responses_compact
from aibridge_addon.formats.openai_responses import reader as openai_responses
from aibridge_addon.providers.paths import collapse_slashes, has_dot_segment
from aibridge_addon.providers.usage_hosts import TAKES_INCLUDE_USAGE

type ProviderType = Literal["anthropic", "openai"]

OTHER = "other"
"""The label of a path that no row of the table names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One row of the route table."""

    path: str
    """A path; one that ends in `/*` stands for everything below it."""
    methods: frozenset[str]
    """The methods that reverse mode allows."""
    api: str | None = None
    """The wire format of a bridged route; `POST` is bridged, other methods pass through."""
    counts_for: str | None = None
    """The wire format whose requests a `POST` of it counts the tokens of."""
    socket: str | None = None
    """The wire format that a WebSocket at this path speaks."""
    names_models: bool = True
    """Whether what is asked there may be asked of a model."""

    def matches(self, path: str) -> bool:
        """Whether a path, without its query, is of this row."""
        if self.path.endswith("/*"):
            return path.startswith(self.path[:-1])
        return path == self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """The routes of a provider type."""

    prefix: str
    """What stands before a route's path on the provider's own host, and in a reverse-proxy URL."""
    patterns: tuple[Pattern, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Paths that reverse mode takes for another path of the table."""


_POST = frozenset({"POST"})
_READ = frozenset({"GET", "HEAD"})
_KEPT = frozenset({"GET", "POST", "DELETE"})
"""For what clients made there themselves, and take away again."""

# In reverse mode, each row has the methods that its clients use and no more, bridged rows too: by
# TRACE a provider would send the central key back, and DELETE of a model is for good. That other
# methods pass on a bridged path is for forward mode, where the key is the client's own.
ROUTES: Mapping[ProviderType, RouteTable] = {
    "anthropic": RouteTable(
        prefix="",
        patterns=(
            Pattern(path="/v1/messages", methods=_POST, api=anthropic_messages.NAME),
            Pattern(
                path="/v1/messages/count_tokens",
                methods=_POST,
                counts_for=anthropic_messages.NAME,
            ),
            Pattern(path="/v1/models", methods=_READ),
            Pattern(path="/v1/models/*", methods=_READ),
            Pattern(path="/api/event_logging/*", methods=_POST, names_models=False),
            Pattern(path="/", methods=frozenset({"HEAD"})),
            Pattern(path="", methods=frozenset({"HEAD"})),
        ),
        aliases={  # of SDKs that expect `/v1` to be part of the base URL
            "/messages": "/v1/messages",
            "/messages/count_tokens": "/v1/messages/count_tokens",
        },
    ),
    "openai": RouteTable(
        prefix="/v1",
        patterns=(
            Pattern(path="/chat/completions", methods=_POST, api=openai_chat.NAME),
            Pattern(
                path="/responses",
                methods=_POST | {"GET"},  # a WebSocket begins as GET
                api=openai_responses.NAME,
                socket=openai_responses.NAME,
            ),
            Pattern(path="/responses/compact", methods=_POST, api=openai_responses_compact.NAME),
            Pattern(path="/responses/*", methods=_KEPT),
            Pattern(path="/models", methods=_READ),
            Pattern(path="/models/*", methods=_READ),
            Pattern(path="/conversations", methods=_KEPT),
            Pattern(path="/conversations/*", methods=_KEPT),
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider instance: a configured name for somewhere that speaks one of the APIs."""

    name: str
    type: ProviderType
    base_url: str
    hosts: frozenset[str]
    """Hosts intercepted in forward mode."""
    api_key_env: str | None = None
    """The environment variable that holds the central key."""
    include_usage: bool | None = None
    """Whether it takes `stream_options.include_usage`, without which its Chat streams tell no
    usage. None: as known of its host."""

    @property
    def takes_include_usage(self) -> bool:
        """Whether its Chat streams may be asked for usage."""
        known = self.host in TAKES_INCLUDE_USAGE
        return known if self.include_usage is None else self.include_usage

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.base_url).scheme

    @property
    def host(self) -> str:
        """The host of the base URL."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the base URL."""
        return urlsplit(self.base_url).port or (443 if self.scheme == "https" else 80)

    @property
    def base_path(self) -> str:
        """The path of the base URL, without a slash at its end."""
        return urlsplit(self.base_url).path.rstrip("/")

    @property
    def reverse_prefix(self) -> str:
        """What stands before a route's path in a reverse-proxy URL."""
        return f"/{self.name}{ROUTES[self.type].prefix}"


DEFAULT_PROVIDERS = (
    Provider(
        name="anthropic",
        type="anthropic",
        base_url="https://api.anthropic.com",
        hosts=frozenset({"api.anthropic.com"}),
        api_key_env="ANTHROPIC_API_KEY",
    ),
    Provider(
        name="openai",
        type="openai",
        base_url="https://api.openai.com/v1",
        hosts=frozenset({"api.openai.com"}),
        api_key_env="OPENAI_API_KEY",
    ),
    Provider(  # where Codex goes with a ChatGPT login
        name="chatgpt",
        type="openai",
        base_url="https://chatgpt.com/backend-api/codex",
        hosts=frozenset({"chatgpt.com"}),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where a request must be sent, if not where the client sent it."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What becomes of a request."""

    provider: Provider
    label: str
    """The row of the table: bounded, unlike a path."""
    api: str | None
    """The wire format if the request is bridged; None if it passes through."""
    counts_for: str | None = None
    """The wire format whose requests it counts the tokens of."""
    socket: str | None = None
    """The wire format that it speaks if it becomes a WebSocket."""
    names_models: bool = True
    """Whether it may be asked of a model."""
    upstream: Upstream | None
    """Where it goes; None: where the client sent it."""
    path: str | None = None
    """The path and query that replace the client's, where only they change."""


class Router:
    """Finds routes among the configured provider instances."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._targets = {provider.name: _Target(provider) for provider in providers}
        self._by_host = {
            bare_host(host): target
            for target in self._targets.values()
            for host in target.provider.hosts
        }

    @property
    def reverse_prefixes(self) -> list[str]:
        """What the paths of a reverse proxy may begin with."""
        return [target.provider.reverse_prefix for target in self._targets.values()]

    def is_provider_host(self, host: str) -> bool:
        """Whether a host belongs to an instance, so that its connections are intercepted."""
        return bare_host(host) in self._by_host

    def tunnels_to(self, host: str, port: int) -> list[Provider]:
        """Return the instances at an address that is not intercepted, so that nobody looks."""
        if self.is_provider_host(host):
            return []
        asked = (_spelled(host), port)
        providers = (target.provider for target in self._targets.values())
        return [there for there in providers if (_spelled(there.host), there.port) == asked]

    def forward(self, host: str, path: str, method: str) -> Route | None:
        """Route a request that came through the forward proxy; None for hosts of no instance."""
        target = self._by_host.get(bare_host(host))
        return None if target is None else target.forward(host.lower(), path, method)

    def reverse(self, path: str, method: str, *, target_host: str = "") -> Route | None:
        """Route a request that came to the reverse proxy; None if it is not allowed.

        A path without an instance's name is taken for one of the instance that `target_host`, the
        reverse mode's own target, belongs to.
        """
        path = collapse_slashes(path)
        target = self._targets.get(_instance_name(path))
        if target is not None:
            return target.reverse(path, method, prefix=target.provider.reverse_prefix)
        target = self._by_host.get(bare_host(target_host))
        if target is not None:
            return target.reverse(path, method, prefix=ROUTES[target.provider.type].prefix)
        return None

    def instance_of(self, path: str) -> Provider | None:
        """Return the instance that a reverse-proxy path names, whether or not it is allowed."""
        target = self._targets.get(_instance_name(collapse_slashes(path)))
        return target.provider if target else None


class _Target:
    """An instance with what of its base URL every request needs."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._table = ROUTES[provider.type]
        self._scheme = provider.scheme
        self._host = provider.host
        self._port = provider.port
        self._base_path = provider.base_path

    def forward(self, host: str, path: str, method: str) -> Route:
        goes_elsewhere = host != self._host
        collapsed = collapse_slashes(path)
        bare = collapsed.split("?", 1)[0]
        for prefix in dict.fromkeys((self._base_path, self._table.prefix)):
            if bare.startswith(prefix) and (pattern := self._find(bare[len(prefix) :])):
                upstream = self._upstream(collapsed) if goes_elsewhere else None
                route = self._route(pattern, method, upstream)
                return route if collapsed == path else replace(route, path=collapsed)
        upstream = self._upstream(path) if goes_elsewhere else None
        return Route(provider=self.provider, label=OTHER, api=None, upstream=upstream)

    def reverse(self, path: str, method: str, *, prefix: str) -> Route | None:
        if not path.startswith(prefix):
            return None
        bare, mark, query = path[len(prefix) :].partition("?")
        bare = self._table.aliases.get(bare, bare)
        pattern = self._find(bare)
        if pattern is None or method not in pattern.methods:
            return None
        if has_dot_segment(bare):  # the upstream might resolve it to a route that is not allowed
            return None
        return self._route(pattern, method, self._upstream(self._base_path + bare + mark + query))

    def _find(self, path: str) -> Pattern | None:
        return next((p for p in self._table.patterns if p.matches(path)), None)

    def _route(self, pattern: Pattern, method: str, upstream: Upstream | None) -> Route:
        return Route(
            provider=self.provider,
            label=self._table.prefix + pattern.path,
            api=pattern.api if method == "POST" else None,
            counts_for=pattern.counts_for if method == "POST" else None,
            socket=pattern.socket if method == "GET" else None,
            names_models=pattern.names_models,
            upstream=upstream,
        )

    def _upstream(self, path: str) -> Upstream:
        return Upstream(
            scheme=self._scheme,
            host=self._host,
            port=self._port,
            path=path if path.startswith("/") else "/" + path,
        )


def bare_host(host: str) -> str:
    """Return a host as it is compared: in lower case, without the dot that ends a whole name."""
    return host.lower().removesuffix(".")


def _instance_name(path: str) -> str:
    """Return the first segment of a path, which names an instance in reverse mode."""
    return path[1:].split("?", 1)[0].split("/", 1)[0]


def _spelled(host: str) -> str:
    return str(literal(host) or bare_host(host))
