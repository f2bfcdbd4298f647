"""Generates the reference tables of the documentation from the code; called by its cog blocks.

Each function returns Markdown. What a thing means stands in `config_meanings` and `column_meanings`
where the code has no place for it; a thing without a meaning raises, so that all are documented.
"""

from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

from column_meanings import COLUMNS, TABLES
from config_meanings import CONFIG
from platformdirs import user_data_path
from sqlite_utils import Database

from aibridge_addon.config.file import ConfigFile
from aibridge_addon.config.options import OPTIONS
from aibridge_addon.observe.metric_table import METRICS
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.clients import ANY_PROGRAM, CLIENTS
from aibridge_addon.providers.presets import PRESETS
from aibridge_addon.providers.types import PROVIDER_TYPES
from aibridge_addon.providers.unread_hosts import UNREAD_SERVICES
from aibridge_addon.store.sqlite import schema

DATA_FOLDER = str(user_data_path("aibridge", appauthor=False))


def options() -> str:
    """Return mitmproxy's options that are ours."""
    rows = []
    for option in OPTIONS:
        values = " or ".join(map(_code, option.choices or ())) or option.type.__name__
        text = option.help + (" Read at the start only." if option.fixed else "")
        text += " Read again when it has changed." if option.watched else ""
        rows.append((_code(option.name), values, _default(option.default_value), text))
    return _table(("option", "value", "default", "purpose"), rows)


def _default(value: object) -> str:
    if isinstance(value, bool):
        return _code(str(value).lower())
    # The folder is another on every machine.
    text = str(value).replace(DATA_FOLDER, "<data folder>").replace("\\", "/")
    return _code(text) if text else "empty"


def config() -> str:
    """Return the keys of the config file."""
    rows = [
        row
        for table, field in ConfigFile.model_fields.items()
        for row in _config_rows(table, field.annotation)
    ]
    return _table(("table", "key", "needed", "meaning"), rows)


def _config_rows(table: str, annotation: Any) -> Iterator[tuple[str, ...]]:
    is_list = get_origin(annotation) is list
    model = get_args(annotation)[0] if is_list else annotation
    title = f"[[{table}]]" if is_list else f"[{table}]"
    for key, about in model.model_fields.items():
        name = about.alias or key
        if f"{table}.{name}" in CONFIG:
            yield from _config_rows(f"{table}.{name}", about.annotation)
            continue
        needed = "yes" if about.is_required() else "no"
        yield _code(title), _code(name), needed, CONFIG[table][name]


def providers() -> str:
    """Return the provider instances that need no configuration."""
    rows = [
        (
            _code(provider.name),
            _code(provider.type),
            _code(provider.base_url),
            ", ".join(map(_code, sorted(provider.hosts))),
            _code(provider.api_key_env or ""),
            _code(f"http://127.0.0.1:8081{provider.reverse_prefix}"),
        )
        for provider in DEFAULT_PROVIDERS
        if provider.name not in PRESETS or PRESETS[provider.name].is_local
    ]
    head = ("name", "type", "base_url", "hosts", "api_key_env", "base URL for clients")
    return _table(head, rows)


def presets() -> str:
    """Return the table of known hosts."""
    rows = []
    for preset in PRESETS.values():
        formats = preset.formats
        if preset.anthropic_path is not None:
            formats += f", messages at {_code(f'{preset.anthropic_path}/v1/messages')}"
        hosts = ", ".join(map(_code, (preset.base_url, *preset.hosts)))
        rows.append(
            (
                _code(preset.name),
                hosts,
                formats,
                preset.stream_usage,
                preset.quirks,
                preset.seller or "none",
                _code(preset.api_key_env) if preset.api_key_env else "",
                preset.document,
            )
        )
    head = ("name", "base URL and hosts", "formats", "usage of chat streams", "known differences")
    return _table((*head, "price list", "key", "after"), rows)


def unread() -> str:
    """Return the AI services whose traffic is not read."""
    rows = [
        (service.name, ", ".join(map(_code, service.hosts)), service.reason)
        for service in UNREAD_SERVICES
    ]
    return _table(("service", "hosts", "not read because it is"), rows)


def routes() -> str:
    """Return the route table."""
    rows = []
    for kind, table in PROVIDER_TYPES.items():
        for pattern in table.routes:
            path = f"/<name>{table.prefix}{pattern.path}"
            methods = ", ".join(sorted(pattern.methods))
            fate = "passes"
            if pattern.api:
                fate = f"`POST` is recorded as `{pattern.api}`"
            if pattern.socket:
                fate = fate.replace("`POST` is", "`POST` and WebSocket are") + ", a `GET` passes"
            rows.append((_code(kind), _code(path), methods, fate))
    return _table(("type", "path at the reverse proxy", "methods", "handling"), rows)


def clients() -> str:
    """Return the client programs that are known."""
    rows = []
    for client in CLIENTS:
        signs = []
        if client.user_agents:
            signs.append("user agent " + ", ".join(map(_code, client.user_agents)))
        if client.originators:
            signs.append("`originator` " + ", ".join(map(_code, client.originators)))
        if client.header:
            signs.append("header " + _code(client.header))
        if not signs:
            continue  # a row for setup only
        sessions = [*map(_code, client.session_headers)]
        if client.session_in_body:
            sessions.append("else the body")
        rows.append((client.name, "; or ".join(signs), ", ".join(sessions)))
    return _table(("client", "known by the beginning of", "session from"), rows)


def client_setup() -> str:
    """Return the client programs that `aibridge env` and `aibridge run` set up."""
    rows = []
    for client in (*CLIENTS, ANY_PROGRAM):
        if not client.commands:
            continue
        reverse = [*client.base_urls, *client.other_variables]
        if client.arguments:
            reverse.append(" ".join(client.arguments))
        rows.append(
            (
                client.name,
                "none" if client is ANY_PROGRAM else ", ".join(map(_code, client.commands)),
                ", ".join(map(_code, reverse)) or "not possible",
                ", ".join(map(_code, client.keys)) if reverse else "",
            )
        )
    head = ("program", "name for `aibridge env`", "set with `--reverse`", "its key variables")
    return _table(head, rows)


def tables() -> str:
    """Return the tables, as the migrations make them."""
    db = Database(memory=True)
    schema.migrate(db)
    parts = []
    for name in schema.TABLES:
        rows = [
            (_code(column.name), column.type, _meaning(name, column.name))
            for column in db.table(name).columns
        ]
        parts.append(f"`{name}`: {TABLES[name]}\n\n{_table(('column', 'type', 'meaning'), rows)}")
    return "\n".join(parts)


def _meaning(table: str, column: str) -> str:
    return COLUMNS[f"{table}.{column}" if f"{table}.{column}" in COLUMNS else column]


def metrics() -> str:
    """Return the metrics."""
    rows = [
        (
            _code(f"aibridge_{metric.name}"),
            metric.kind,
            ", ".join(map(_code, metric.labels)),
            metric.help,
        )
        for metric in METRICS
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ["---"] * len(list(head)), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)
