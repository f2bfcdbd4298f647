"""MCP servers in both kinds of configuration: `[[mcp_servers]]` and `mcpServers` JSON files."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pydantic

from aibridge_addon.config.mcp_server import ServerReader
from aibridge_addon.config.mistakes import Mistakes, SettingsError, listed
from aibridge_addon.config.validation import TABLE, mistakes_of
from aibridge_addon.tools.names import (
    MAX_SERVER_NAME,
    SERVER_NAME,
    InjectionFilter,
    server_names,
)
from aibridge_addon.tools.server_config import ServerConfig, Transport

OPTION = "aibridge_mcp_config"
_SHAPE = 'it must be {"mcpServers": {"a-name": {"url": …}}}'


class ServerConfigError(ValueError):
    """MCP servers are configured wrongly; each of `lines` starts with the key."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def _check_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return value


_Regex = Annotated[str, pydantic.AfterValidator(_check_pattern)]


class ServerTable(pydantic.BaseModel):
    """An MCP server in the config file, `[[mcp_servers]]`."""

    model_config = TABLE

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
    """An MCP server in an `mcpServers` file; keys of other programs are ignored."""

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
    """A file as Claude Code and Cursor use it."""

    model_config = pydantic.ConfigDict(extra="ignore", strict=True, frozen=True)

    servers: Annotated[dict[str, ServerEntry], pydantic.Field(alias="mcpServers")]


class InjectionTable(pydantic.BaseModel):
    """Limits of the requests that central tools are offered to, `[injection]`."""

    model_config = TABLE

    actors: list[str] = []
    clients: list[str] = []
    providers: list[str] = []
    models: list[str] = []

    def filter(self) -> InjectionFilter:
        """Return the filter of requests."""
        return InjectionFilter(
            actors=tuple(self.actors),
            clients=tuple(self.clients),
            providers=tuple(self.providers),
            models=tuple(self.models),
        )


def read_servers(
    tables: Sequence[ServerTable], config_path: str, file_path: str, environ: Mapping[str, str]
) -> tuple[ServerConfig, ...]:
    """Return the servers of the config file and of the `mcpServers` file.

    Raises:
        SettingsError: with all mistakes of both.
    """
    mistakes = Mistakes()
    configured = mistakes.checked((), _read_tables, tables, config_path, environ)
    taken = [table.name for table in tables]
    others = mistakes.checked((), _read_file, file_path, environ, taken)
    mistakes.raise_all()
    return configured + others


def _read_tables(
    tables: Sequence[ServerTable], path: str, environ: Mapping[str, str]
) -> tuple[ServerConfig, ...]:
    try:
        return servers_of_tables(tables, environ)
    except ServerConfigError as error:
        raise SettingsError(listed("aibridge_config", path, error.lines)) from error


def _read_file(
    path: str, environ: Mapping[str, str], taken: Sequence[str]
) -> tuple[ServerConfig, ...]:
    if not path:
        return ()
    try:
        document = json.loads(Path(path).expanduser().read_text(encoding="utf-8-sig"))
        return servers_of_file(ServerFile.model_validate(document), environ, taken)
    except OSError as error:
        raise SettingsError(f"{OPTION} {path}: {error.strerror or error}") from error
    except ServerConfigError as error:
        raise SettingsError(listed(OPTION, path, error.lines)) from error
    except pydantic.ValidationError as error:
        raise SettingsError(listed(OPTION, path, _file_mistakes(error, document))) from error
    except (ValueError, RecursionError) as error:
        reason = str(error) or "nested too deeply"
        raise SettingsError(f"{OPTION} {path} is not JSON: {reason}") from error


def _file_mistakes(error: pydantic.ValidationError, document: object) -> Iterable[str]:
    if any(len(details["loc"]) <= 1 for details in error.errors()):
        return [f"has no table of servers; {_SHAPE}"]
    return mistakes_of(error, {"": ServerFile}, document)


def servers_of_tables(
    tables: Sequence[ServerTable], environ: Mapping[str, str]
) -> tuple[ServerConfig, ...]:
    """Return the servers of `[[mcp_servers]]`.

    Raises:
        ServerConfigError: with all mistakes.
    """
    lines = _repeated([table.name for table in tables])
    servers = []
    for index, table in enumerate(tables):
        reader = ServerReader(f"mcp_servers[{index}]", environ)
        servers.append(reader.server(table.name, table.type, table))
        lines += reader.mistakes
    if lines:
        raise ServerConfigError(lines)
    return tuple(servers)


def servers_of_file(
    file: ServerFile, environ: Mapping[str, str], taken: Iterable[str] = ()
) -> tuple[ServerConfig, ...]:
    """Return the enabled servers of an `mcpServers` file, with legal names that are not `taken`.

    Raises:
        ServerConfigError: with all mistakes.
    """
    entries = {name: entry for name, entry in file.servers.items() if not entry.disabled}
    names = server_names(entries, taken)
    lines: list[str] = []
    servers = []
    for written, entry in entries.items():
        reader = ServerReader(f"mcpServers.{written}", environ)
        servers.append(reader.server(names[written], reader.transport(entry.type), entry))
        lines += reader.mistakes
    if lines:
        raise ServerConfigError(lines)
    return tuple(servers)


def _repeated(names: Sequence[str]) -> list[str]:
    return [
        f"mcp_servers[{index}].name is {name!r}, the same as"
        f" mcp_servers[{names.index(name)}].name; names must be unique"
        for index, name in enumerate(names)
        if name in names[:index]
    ]
