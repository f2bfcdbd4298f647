"""Which MCP servers there are and how to reach them, from TOML tables and `mcpServers` JSON. Pure.

It reads no file and opens no connection. What comes from the environment is a secret: it is in no
`repr`, and no message shows it; what is shown of a server is what its configuration says.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import pydantic

from aibridge_addon.tools.names import (
    MAX_SERVER_NAME,
    SERVER_NAME,
    InjectionFilter,
    server_names,
)
from aibridge_addon.tools.server_config import ServerConfig, Transport

TRANSPORTS: Mapping[str, Transport] = {
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "sse": "sse",
    "stdio": "stdio",
}
"""What configurations of other programs call them, in lower case."""
SECRET_KEYS = frozenset({"url", "headers", "command", "args", "env"})
"""Keys whose values may hold a secret even as they are written."""

_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SHORTEST_SECRET = 4
"""Characters: hiding shorter values would only make messages illegible."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class ServerConfigError(ValueError):
    """What is wrong in a configuration: each of `lines` opens with the key."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


def _check_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


_Regex = Annotated[str, pydantic.AfterValidator(_check_pattern)]


class ServerTable(_Table):
    """One of `[[mcp_servers]]`."""

    name: Annotated[
        str, pydantic.StringConstraints(pattern=SERVER_NAME, max_length=MAX_SERVER_NAME)
    ]
    type: Transport | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    allow: _Regex = ""
    deny: _Regex = ""
    timeout_s: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] | None = None


class ServerEntry(pydantic.BaseModel):
    """One of `mcpServers`; the keys that are other programs' own are none of our business."""

    model_config = pydantic.ConfigDict(extra="ignore", strict=True, frozen=True)

    type: str | None = None
    url: str | None = None
    headers: dict[str, str] | None = None
    command: str | None = None
    args: list[str] | None = None
    env: dict[str, str] | None = None
    cwd: str | None = None
    disabled: bool = False


class ServerFile(pydantic.BaseModel):
    """A file of the shape that Claude Code and Cursor use."""

    model_config = pydantic.ConfigDict(extra="ignore", strict=True, frozen=True)

    servers: Annotated[dict[str, ServerEntry], pydantic.Field(alias="mcpServers")]


class InjectionTable(_Table):
    """`[injection]`: to whom the tools are offered."""

    actors: list[str] = []
    clients: list[str] = []
    providers: list[str] = []
    models: list[str] = []

    def filter(self) -> InjectionFilter:
        """Return it as the rule that it is."""
        return InjectionFilter(
            actors=tuple(self.actors),
            clients=tuple(self.clients),
            providers=tuple(self.providers),
            models=tuple(self.models),
        )


def servers_of_tables(
    tables: Sequence[ServerTable], environ: Mapping[str, str]
) -> tuple[ServerConfig, ...]:
    """Return the servers of `[[mcp_servers]]`.

    Raises:
        ServerConfigError: with all of them.
    """
    lines = _repeated([table.name for table in tables])
    servers = []
    for index, table in enumerate(tables):
        reader = _Reader(f"mcp_servers[{index}]", environ)
        servers.append(reader.server(table.name, table.type, table))
        lines += reader.mistakes
    if lines:
        raise ServerConfigError(lines)
    return tuple(servers)


def servers_of_file(
    file: ServerFile, environ: Mapping[str, str], taken: Iterable[str] = ()
) -> tuple[ServerConfig, ...]:
    """Return the servers of an `mcpServers` file, under legal names of which none is `taken`.

    Raises:
        ServerConfigError: with all of them.
    """
    entries = {name: entry for name, entry in file.servers.items() if not entry.disabled}
    names = server_names(entries, taken)
    lines: list[str] = []
    servers = []
    for written, entry in entries.items():
        reader = _Reader(f"mcpServers.{written}", environ)
        servers.append(reader.server(names[written], reader.transport(entry.type), entry))
        lines += reader.mistakes
    if lines:
        raise ServerConfigError(lines)
    return tuple(servers)


def _repeated(names: Sequence[str]) -> list[str]:
    return [
        f"mcp_servers[{index}].name is {name!r}, as is that of"
        f" mcp_servers[{names.index(name)}]; names must be unique"
        for index, name in enumerate(names)
        if name in names[:index]
    ]


class _Written(Protocol):
    """What tables and entries have alike."""

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


class _Reader:
    """Reads one server: expands, checks, and gathers mistakes and secrets."""

    def __init__(self, key: str, environ: Mapping[str, str]) -> None:
        self._key = key
        self._environ = environ
        self._secrets: set[str] = set()
        self.mistakes: list[str] = []

    def transport(self, written: str | None) -> Transport | None:
        """Return the transport that a file names in whatever way."""
        if written is None:
            return None
        if transport := TRANSPORTS.get(written.lower()):
            return transport
        self._wrong("type", f"is {written!r}; it must be http, sse or stdio")
        return None

    def server(self, name: str, transport: Transport | None, table: _Written) -> ServerConfig:
        """Return the server; worth nothing where there are mistakes."""
        transport = transport or ("stdio" if table.command and not table.url else "http")
        self._check_form(transport, table)
        local = transport == "stdio"
        url = self._url(table.url) if table.url and not local else ""
        command = self._expand("command", table.command or "")
        return ServerConfig(
            name=name,
            transport=transport,
            shown_url=_shown_command(table.command or "") if local else _shown_url(table.url or ""),
            url=url,
            headers=self._headers(table.headers or {}),
            command=command,
            args=tuple(
                self._expand(f"args[{index}]", value)
                for index, value in enumerate(table.args or ())
            ),
            env=self._env(table.env or {}),
            cwd=table.cwd,
            allow=_pattern(getattr(table, "allow", "")),
            deny=_pattern(getattr(table, "deny", "")),
            timeout_s=getattr(table, "timeout_s", None),
            secrets=frozenset(s for s in self._secrets if len(s) >= _SHORTEST_SECRET),
        )

    def _wrong(self, key: str, what: str) -> None:
        self.mistakes.append(f"{self._key}.{key} {what}" if key else f"{self._key} {what}")

    def _check_form(self, transport: Transport, table: _Written) -> None:
        if not table.url and not table.command:
            self._wrong("", "has neither url nor command; give it one of them")
            return
        if table.url and table.command:
            self._wrong("", "has both url and command; give it one of them")
            return
        local = transport == "stdio"
        if local and not table.command:
            self._wrong("command", "is missing; a stdio server is a program to run")
        if not local and not table.url:
            self._wrong("url", f"is missing; type {transport!r} is reached by URL")
        for key in ("headers",) if local else ("args", "env", "cwd"):
            if getattr(table, key):
                kind = "reached by URL" if local else "of type stdio"
                self._wrong(key, f"is only for servers {kind}")

    def _expand(self, key: str, template: str) -> str:
        """Put the environment's values in; each of them becomes a secret."""

        def value(match: re.Match[str]) -> str:
            name, default = match.groups()
            found = self._environ.get(name)
            if default is not None:
                found = found or default
            if found is None:
                self._wrong(
                    key,
                    f"has ${{{name}}}, and the environment has no {name}; set it, or write"
                    f" ${{{name}:-default}}",
                )
                return ""
            self._secrets.add(found)
            return found

        if "${" in _VARIABLE.sub("", template):
            self._wrong(key, "has a ${ that names no variable; write ${NAME} or ${NAME:-default}")
        return _VARIABLE.sub(value, template)

    def _url(self, template: str) -> str:
        before = len(self.mistakes)
        expanded = self._expand("url", template).strip()
        if len(self.mistakes) > before:
            return expanded
        try:
            url = urlsplit(expanded)
            _ = url.port  # raises for a port that is none
        except ValueError:
            url = urlsplit("")
        if url.scheme not in ("http", "https") or not url.hostname or not _is_plain(expanded):
            self._wrong("url", "must be a URL such as https://mcp.example.com/mcp")
            return expanded
        query = [value for pair in parse_qsl(url.query) for value in pair[1:]]
        self._secrets |= {url.username or "", unquote(url.username or ""), url.query, *query}
        self._secrets |= {url.password or "", unquote(url.password or "")}
        # Of what a variable brings, parts may be told too: the host, of a name that is not found.
        self._secrets |= {part for part in (url.hostname, url.path) if part not in template}
        return expanded

    def _headers(self, templates: Mapping[str, str]) -> dict[str, str]:
        headers = {}
        for name, template in templates.items():
            key = f"headers.{name}"
            value = self._expand(key, template).strip()
            if not _HEADER_NAME.fullmatch(name):
                self._wrong(key, "is no name that a header can have")
            elif not _HEADER_VALUE.fullmatch(value):
                self._wrong(key, "has characters that a header cannot carry, such as line breaks")
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


def _named_only(template: str) -> str:
    """Return a template whose variables have lost their defaults."""
    return _VARIABLE.sub(r"${\1}", template)


def _shown_url(template: str) -> str:
    named = _named_only(template)
    try:
        url = urlsplit(named)
    except ValueError:
        return "?"
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))


def _shown_command(template: str) -> str:
    return f"stdio:{_named_only(template)}"
