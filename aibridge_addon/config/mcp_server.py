"""Reads one MCP server's configuration: expands variables, checks values, gathers secrets. Pure.

Every value from the environment is a secret: it is in no `repr` and in no message. Messages show
the configuration as it is written.
"""

import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from aibridge_addon.tools.server_config import ServerConfig, Transport

TRANSPORTS: Mapping[str, Transport] = {
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "sse": "sse",
    "stdio": "stdio",
}
"""Transports by their names in `mcpServers` files, in lower case."""

_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SHORTEST_SECRET = 4
"""Characters: hiding shorter values would make messages illegible."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class WrittenServer(Protocol):
    """Members that `[[mcp_servers]]` tables and `mcpServers` entries have in common."""

    @property
    def url(self) -> str | None: ...
    @property
    def headers(self) -> dict[str, str] | None: ...
    @property
    def command(self) -> str | None: ...
    @property
    def args(self) -> list[str] | None: ...
    @property
    def env(self) -> dict[str, str] | None: ...
    @property
    def cwd(self) -> str | None: ...


class ServerReader:
    """Reads one server, and gathers its mistakes and secrets."""

    def __init__(self, key: str, environ: Mapping[str, str]) -> None:
        self._key = key
        self._environ = environ
        self._secrets: set[str] = set()
        self.mistakes: list[str] = []

    def transport(self, written: str | None) -> Transport | None:
        """Return the transport by its name in an `mcpServers` file; None if it is not named."""
        if written is None:
            return None
        if transport := TRANSPORTS.get(written.lower()):
            return transport
        self._add_mistake("type", f"is {written!r}; it must be http, sse or stdio")
        return None

    def server(
        self, name: str, transport: Transport | None, written: WrittenServer
    ) -> ServerConfig:
        """Return the configuration; it is unusable if there are mistakes."""
        transport = transport or ("stdio" if written.command and not written.url else "http")
        self._check_form(transport, written)
        local = transport == "stdio"
        shown = _shown_command(written.command or "") if local else _shown_url(written.url or "")
        args = enumerate(written.args or ())
        return ServerConfig(
            name=name,
            transport=transport,
            shown_url=shown,
            url=self._url(written.url) if written.url and not local else "",
            command=self._expand("command", written.command or ""),
            headers=self._headers(written.headers or {}),
            args=tuple(self._expand(f"args[{index}]", value) for index, value in args),
            env=self._env(written.env or {}),
            cwd=written.cwd,
            allow=_pattern(getattr(written, "allow", "")),
            deny=_pattern(getattr(written, "deny", "")),
            timeout_s=getattr(written, "timeout_s", None),
            secrets=frozenset(s for s in self._secrets if len(s) >= _SHORTEST_SECRET),
        )

    def _add_mistake(self, key: str, mistake: str) -> None:
        self.mistakes.append(f"{self._key}.{key} {mistake}" if key else f"{self._key} {mistake}")

    def _check_form(self, transport: Transport, written: WrittenServer) -> None:
        if not written.url and not written.command:
            self._add_mistake("", "has neither url nor command; add one of them")
            return
        if written.url and written.command:
            self._add_mistake("", "has both url and command; remove one of them")
            return
        local = transport == "stdio"
        if local and not written.command:
            self._add_mistake("command", "is missing; a stdio server is a program to run")
        if not local and not written.url:
            self._add_mistake("url", f"is missing; type {transport!r} is reached by URL")
        for key in ("headers",) if local else ("args", "env", "cwd"):
            if getattr(written, key):
                kind = "reached by URL" if local else "of type stdio"
                self._add_mistake(key, f"is only for servers {kind}")

    def _expand(self, key: str, template: str) -> str:
        """Replace variables by values of the environment; each of these becomes a secret."""

        def value(match: re.Match[str]) -> str:
            name, default = match.groups()
            found = self._environ.get(name)
            if default is not None:
                found = found or default
            if found is None:
                self._add_mistake(
                    key,
                    f"has ${{{name}}}, and the environment has no {name}; set it, or write"
                    f" ${{{name}:-default}}",
                )
                return ""
            self._secrets.add(found)
            return found

        if "${" in _VARIABLE.sub("", template):
            self._add_mistake(
                key, "has a ${ that names no variable; write ${NAME} or ${NAME:-default}"
            )
        return _VARIABLE.sub(value, template)

    def _url(self, template: str) -> str:
        before = len(self.mistakes)
        expanded = self._expand("url", template).strip()
        if len(self.mistakes) > before:
            return expanded
        try:
            url = urlsplit(expanded)
            _ = url.port  # raises `ValueError` if it is not a port
        except ValueError:
            url = urlsplit("")
        if url.scheme not in ("http", "https") or not url.hostname or not _is_plain(expanded):
            self._add_mistake("url", "must be a URL such as https://mcp.example.com/mcp")
            return expanded
        query = [value for pair in parse_qsl(url.query) for value in pair[1:]]
        self._secrets |= {url.username or "", unquote(url.username or ""), url.query, *query}
        self._secrets |= {url.password or "", unquote(url.password or "")}
        # Error messages may show parts of the URL, such as the host; a variable brings secret ones.
        self._secrets |= {part for part in (url.hostname, url.path) if part not in template}
        return expanded

    def _headers(self, templates: Mapping[str, str]) -> dict[str, str]:
        headers = {}
        for name, template in templates.items():
            key = f"headers.{name}"
            value = self._expand(key, template).strip()
            if not _HEADER_NAME.fullmatch(name):
                self._add_mistake(key, "is not a legal header name")
            elif not _HEADER_VALUE.fullmatch(value):
                self._add_mistake(
                    key, "has characters that a header cannot carry, such as line breaks"
                )
            self._secrets |= {value, value.rpartition(" ")[2]}
            headers[name] = value
        return headers

    def _env(self, templates: Mapping[str, str]) -> dict[str, str]:
        env = {name: self._expand(f"env.{name}", value) for name, value in templates.items()}
        self._secrets |= set(env.values())
        return env


def _pattern(value: str) -> re.Pattern[str] | None:
    return re.compile(value) if value else None


def _is_plain(url: str) -> bool:
    return url.isprintable() and " " not in url


def _without_defaults(template: str) -> str:
    """Return a template with the names of its variables, but without their defaults."""
    return _VARIABLE.sub(r"${\1}", template)


def _shown_url(template: str) -> str:
    named = _without_defaults(template)
    try:
        url = urlsplit(named)
    except ValueError:
        return "?"
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))


def _shown_command(template: str) -> str:
    return f"stdio:{_without_defaults(template)}"
