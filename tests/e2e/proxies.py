"""Sets up proxies for end-to-end tests: folder, configuration, MCP servers, start and end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.central import wait_for_servers
from e2e.proxy import Proxy, config_toml
from e2e.tables import server_toml

type Servers = Mapping[str, Mapping[str, Any]]
"""MCP servers by their names, with their other keys in the config file."""
type RunProxy = Callable[..., AbstractContextManager[Proxy]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyFactory:
    """Makes proxies that trust the same providers and share mitmproxy's folder."""

    confdir: Path
    upstream_ca: Path | None
    new_folder: Callable[[], Path]

    def make(
        self,
        upstream: str,
        *,
        kind: type[Proxy] = Proxy,
        config: str | None = None,
        more_config: str = "",
        servers: Servers | None = None,
        **arguments: Any,
    ) -> Proxy:
        """Prepare a proxy without starting it.

        Args:
            upstream: Origin of the stand-in that takes the place of both providers.
            kind: Class of the proxy.
            config: Config file in place of the one for `upstream`.
            more_config: Appended to the config file.
            servers: MCP servers.
            arguments: Further arguments of `Proxy`.
        """
        text = config_toml(upstream) if config is None else config
        entries = [server_toml(name, **keys) for name, keys in (servers or {}).items()]
        return kind(
            self.new_folder(),
            config="".join([text, more_config, *entries]),
            confdir=self.confdir,
            **{"upstream_ca": self.upstream_ca} | arguments,
        )

    @contextmanager
    def run(
        self,
        upstream: str,
        *,
        kind: type[Proxy] = Proxy,
        servers: Servers | None = None,
        wait_for: Sequence[str] | None = None,
        before_start: Callable[[Any], object] = lambda made: None,
        **arguments: Any,
    ) -> Iterator[Proxy]:
        """Run a proxy for as long as the block lasts, with the arguments of `make`.

        Args:
            upstream: Origin of the stand-in.
            kind: Class of the proxy.
            servers: MCP servers.
            wait_for: The servers that have to be up before the block; default: all of them.
            before_start: Called with the prepared proxy.
            arguments: Further arguments of `make`.
        """
        made = self.make(upstream, kind=kind, servers=servers, **arguments)
        before_start(made)
        start_with_servers(made, servers, wait_for)
        yield made
        assert made.stop() == 0, made.log_text()


def start_with_servers(
    proxy: Proxy, servers: Servers | None = None, wait_for: Sequence[str] | None = None
) -> None:
    """Start a proxy; return once these of its servers, by default all, are up."""
    proxy.start()
    wait_for_servers(proxy, *(servers or {} if wait_for is None else wait_for))
