"""Options (`aibridge_*`) and the config file, checked and turned into one frozen `Settings`.

Every mistake is found before the first request and named with its key, what is wrong and what would
be right. Secrets are never part of it: keys stay in the environment variables that it names.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import pydantic
from platformdirs import user_data_path
from pydantic_core import PydanticCustomError

from aibridge_addon.addresses import EVERYTHING, Network
from aibridge_addon.config.doubts import doubt_of_base_url, looks_like_secret
from aibridge_addon.config.mcp_file import (
    SECRET_KEYS,
    InjectionTable,
    ServerConfigError,
    ServerFile,
    ServerTable,
    servers_of_file,
    servers_of_tables,
)
from aibridge_addon.config.mistakes import SettingsError, in_words
from aibridge_addon.config.origins import is_host_name, read_hosts, read_origins
from aibridge_addon.config.plugins import import_plugins, read_plugins
from aibridge_addon.providers.identity import Actor
from aibridge_addon.providers.routing import DEFAULT_PROVIDERS, Provider
from aibridge_addon.providers.types import PROVIDER_TYPES
from aibridge_addon.tools.names import InjectionFilter
from aibridge_addon.tools.server_config import ServerConfig

CAPTURABLE = ("prompts", "tools", "thoughts")
ON_RECORD_FAILURE = ("relay", "refuse")
ASK_RULES = ("auto", "always", "never")
_OLD_ASK_RULES = {"true": "always", "false": "never"}
"""Spellings from when the option was a boolean."""
TOKEN_RULES = ("auto", "always", "never")
PREFIX = "aibridge_"
"""Of all our options; mitmproxy has none of this kind."""
KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One of mitmproxy's options that are ours."""

    name: str
    type: type
    default: Any
    help: str
    choices: Sequence[str] | None = None
    fixed: bool = False
    """Whether it is read once, at the start."""
    watched: bool = False
    """Whether it names a file that is read again when it has changed."""


OPTIONS = (
    Option(
        name="aibridge_config",
        type=str,
        default="",
        help="A TOML file with provider instances, known actors and MCP servers.",
        watched=True,
    ),
    Option(
        name="aibridge_plugins",
        type=str,
        default="",
        help=(
            "Python modules to import at the start, a comma-separated list: each may register"
            " policies of its own. They run with all rights of the proxy."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_db",
        type=str,
        default=str(user_data_path("aibridge", appauthor=False) / "aibridge.sqlite3"),
        help="The SQLite database that everything is recorded in. It is made if it is not there.",
        fixed=True,
    ),
    Option(
        name="aibridge_recorder",
        type=str,
        default="",
        help="A recorder of your own, as module:Class, in place of the SQLite database.",
        fixed=True,
    ),
    Option(
        name="aibridge_on_record_failure",
        type=str,
        default="relay",
        choices=ON_RECORD_FAILURE,
        help=(
            "While the database is away: 'relay' goes on and spools what is recorded; 'refuse'"
            " answers bridged requests with 503."
        ),
    ),
    Option(
        name="aibridge_retention_days",
        type=int,
        default=0,
        help="Delete interceptions, and what belongs to them, after so many days. 0: never.",
        fixed=True,
    ),
    Option(
        name="aibridge_tool_memory_days",
        type=int,
        default=30,
        help=(
            "For how many days hidden turns are kept, so that a conversation goes on with the"
            " central tools' results in it. 0: for ever."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_commit_wait_ms",
        type=int,
        default=2000,
        help="How many milliseconds the end of a response may wait until it is recorded.",
    ),
    Option(
        name="aibridge_capture",
        type=str,
        default=",".join(CAPTURABLE),
        help=(
            "What is kept besides tokens: a comma-separated list of prompts, tools and thoughts."
            " Empty keeps none of them."
        ),
    ),
    Option(
        name="aibridge_require_actor",
        type=bool,
        default=False,
        help="Refuse bridged requests whose actor would be anonymous.",
    ),
    Option(
        name="aibridge_actor_header",
        type=str,
        default="X-AIBridge-Actor",
        help=(
            "The request header that names the actor. It never reaches the provider. Anyone can"
            " write it: leave it empty where clients are not trusted."
        ),
    ),
    Option(
        name="aibridge_require_token",
        type=str,
        default="auto",
        choices=TOKEN_RULES,
        help=(
            "Whether clients need an access token: 'auto' from the first one on that was made,"
            " 'always', or 'never'. Tunnels need one too."
        ),
    ),
    Option(
        name="aibridge_allow_open",
        type=bool,
        default=False,
        help=(
            "Start although others than this machine can reach the proxy and nothing asks who they"
            " are."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_allowed_origins",
        type=str,
        default="",
        help=(
            "Web origins whose pages may use the reverse proxy: a comma-separated list such as"
            " https://app.example.com, or * for all. Without an access token, pages of all others"
            " are refused the central keys and central tools."
        ),
    ),
    Option(
        name="aibridge_allowed_hosts",
        type=str,
        default="",
        help=(
            "Host names by which clients without an access token may reach the reverse proxy,"
            " besides loopback names, addresses and the name it listens on: a comma-separated"
            " list, or * for all."
        ),
    ),
    Option(
        name="aibridge_private_networks",
        type=str,
        default="",
        help=(
            "What clients may reach through the proxy although its address is not public: a"
            " comma-separated list of networks, addresses and host names, or * for all. What is a"
            " provider's by the config file need not be in it."
        ),
    ),
    Option(
        name="aibridge_max_connections",
        type=int,
        default=4096,
        help=(
            "How many connections clients may have at once; further ones are closed. Each takes"
            " two file descriptors, and often more. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_max_connections_per_address",
        type=int,
        default=0,
        help=(
            "How many connections clients may have at once from the same address; further ones are"
            " closed. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_first_request_seconds",
        type=int,
        default=120,
        help=(
            "Close a client's connection if it makes no request for so many seconds after it was"
            " opened. 0: never."
        ),
    ),
    Option(
        name="aibridge_held_bodies_mib",
        type=int,
        default=1024,
        help=(
            "The sum of all request bodies held in memory at once. A request that would exceed it"
            " is answered with 503. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_ask_chat_usage",
        type=str,
        default="auto",
        choices=ASK_RULES,
        help=(
            "Ask for the usage of Chat Completions streams where the client does not, and keep the"
            " extra chunk from it: 'auto' in the reverse proxy, at providers that are known to"
            " accept it; 'always'; or 'never'. Such requests are edited; without it, most hosts"
            " tell no usage of a stream."
        ),
    ),
    Option(
        name="aibridge_max_body_mib",
        type=int,
        default=64,
        help=(
            "The size up to which a body is read. Larger ones pass, and are recorded as partial."
            " A larger WebSocket message closes its connection with status 1009."
        ),
    ),
    Option(
        name="aibridge_mcp_config",
        type=str,
        default="",
        help=(
            "An mcpServers JSON file, as Claude Code and Cursor use it: MCP servers whose tools"
            " every client is given."
        ),
        watched=True,
    ),
    Option(
        name="aibridge_tool_call_seconds",
        type=int,
        default=60,
        help=(
            "How many seconds a call of an MCP tool may take without reporting progress, where its"
            " server does not say."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_tool_call_max_seconds",
        type=int,
        default=600,
        help="How many seconds a call of an MCP tool may take in all, if it reports progress.",
        fixed=True,
    ),
    Option(
        name="aibridge_tool_result_kib",
        type=int,
        default=256,
        help="The size up to which a result of an MCP tool is given to the model; more is cut.",
        fixed=True,
    ),
    Option(
        name="aibridge_tool_iterations",
        type=int,
        default=25,
        help="How many answers in a row may call MCP tools, before a model is told to stop.",
    ),
    Option(
        name="aibridge_tool_loop_seconds",
        type=int,
        default=600,
        help="How many seconds calling MCP tools and asking again may take within one request.",
    ),
    Option(
        name="aibridge_metrics_listen",
        type=str,
        default="",
        help=(
            "Serve Prometheus metrics and a health page on host:port, such as 127.0.0.1:9464."
            " Empty: off."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_metrics_initiators",
        type=bool,
        default=True,
        help="Whether metrics are labelled with the actor.",
        fixed=True,
    ),
    Option(
        name="aibridge_metrics_tools",
        type=bool,
        default=True,
        help="Whether metrics are labelled with tool names.",
        fixed=True,
    ),
    Option(
        name="aibridge_metrics_label_values",
        type=int,
        default=100,
        help=(
            "How many values a metric's label may have that clients choose (models, actors,"
            " tools). Further ones are counted as 'other'."
        ),
        fixed=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set, checked."""

    providers: tuple[Provider, ...] = DEFAULT_PROVIDERS
    actors: Mapping[str, Actor] = field(default_factory=dict)
    """Known actors by credential fingerprint or header value."""
    plugins: tuple[str, ...] = ()
    """Names of the imported plugin modules."""
    database: str = "aibridge.sqlite3"
    recorder: str = ""
    retention_days: int | None = None
    tool_memory_days: int | None = 30
    refuse_unrecorded: bool = False
    commit_wait: float = 2.0
    """Seconds."""
    capture: frozenset[str] = frozenset(CAPTURABLE)
    require_actor: bool = False
    actor_header: str = ""
    """In lower case; empty: none."""
    require_token: str = "auto"  # noqa: S105 a rule
    """One of `TOKEN_RULES`."""
    allow_open: bool = False
    allowed_origins: frozenset[str] = frozenset()
    """Web origins, in lower case and without default ports; `*`: all."""
    allowed_hosts: frozenset[str] = frozenset()
    """Host names of the reverse proxy, in lower case; `*`: all."""
    private_networks: tuple[Network, ...] = ()
    """What is not public, and may be reached; `EVERYTHING`: all."""
    private_hosts: frozenset[str] = frozenset()
    """Likewise, by name; in lower case."""
    max_connections: int | None = 4096
    max_connections_per_address: int | None = None
    first_request_seconds: float | None = 120.0
    held_bodies: int | None = 1024 * MIB
    """Bytes."""
    ask_chat_usage: str = "auto"
    """One of `ASK_RULES`."""
    max_body_bytes: int = 64 * MIB
    metrics_listen: tuple[str, int] | None = None
    metrics_initiators: bool = True
    metrics_tools: bool = True
    metrics_label_values: int = 100
    mcp_servers: tuple[ServerConfig, ...] = ()
    injection: InjectionFilter = field(default_factory=InjectionFilter)
    """To whom the servers' tools are offered."""
    tool_call_seconds: float = 60.0
    """Without progress."""
    tool_call_max_seconds: float = 600.0
    tool_result_bytes: int = 256 * KIB
    tool_iterations: int = 25
    tool_loop_seconds: float = 600.0
    doubts: tuple[str, ...] = ()
    """What is probably a mistake in the config file: warnings."""


def read_settings(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Check options and the config files; `environ` has the variables that they name.

    Options that are not ours are left alone, unless their names look as if they were.

    Raises:
        SettingsError: with all mistakes.
    """
    mistakes: list[str] = []

    def checked[T](check: Any, *args: Any, default: T) -> T:
        try:
            return check(*args)  # type: ignore[no-any-return]
        except SettingsError as error:
            mistakes.append(str(error))
            return default

    known = {option.name for option in OPTIONS}
    ours = (name for name in options if name.startswith(PREFIX))
    mistakes += [unknown_option(name) for name in ours if name not in known]
    plugins = read_plugins(options["aibridge_plugins"])
    checked(import_plugins, plugins, default=None)  # first: they add what the config file may name
    config = checked(_read_config, options["aibridge_config"], default=_Config())
    asks = {"aibridge_ask_chat_usage": ask_rule(options["aibridge_ask_chat_usage"])}
    for option in OPTIONS:
        checked(_one_of, {**options, **asks}, option.name, option.choices, default=None)
    servers = checked(_read_servers, config, options, environ, default=())
    private = checked(
        _read_private_networks, options["aibridge_private_networks"], default=_Private()
    )
    settings = Settings(
        providers=_with_defaults(config.providers),
        actors={
            actor.match: Actor(id=actor.id, metadata=actor.metadata) for actor in config.actors
        },
        plugins=plugins,
        database=options["aibridge_db"],
        recorder=options["aibridge_recorder"],
        retention_days=checked(_at_least, options, "aibridge_retention_days", 0, default=0) or None,
        tool_memory_days=checked(_at_least, options, "aibridge_tool_memory_days", 0, default=0)
        or None,
        refuse_unrecorded=options["aibridge_on_record_failure"] == "refuse",
        commit_wait=checked(_at_least, options, "aibridge_commit_wait_ms", 0, default=0) / 1000,
        capture=checked(_read_capture, options["aibridge_capture"], default=frozenset[str]()),
        require_actor=options["aibridge_require_actor"],
        actor_header=options["aibridge_actor_header"].strip().lower(),
        require_token=options["aibridge_require_token"],
        allow_open=options["aibridge_allow_open"],
        allowed_origins=checked(
            read_origins, options["aibridge_allowed_origins"], default=frozenset[str]()
        ),
        allowed_hosts=checked(
            read_hosts, options["aibridge_allowed_hosts"], default=frozenset[str]()
        ),
        private_networks=private.networks,
        private_hosts=private.hosts,
        max_connections=checked(_at_least, options, "aibridge_max_connections", 0, default=0)
        or None,
        max_connections_per_address=checked(
            _at_least, options, "aibridge_max_connections_per_address", 0, default=0
        )
        or None,
        first_request_seconds=checked(
            _at_least, options, "aibridge_first_request_seconds", 0, default=0
        )
        or None,
        held_bodies=checked(_at_least, options, "aibridge_held_bodies_mib", 0, default=0) * MIB
        or None,
        ask_chat_usage=ask_rule(options["aibridge_ask_chat_usage"]),
        max_body_bytes=checked(_at_least, options, "aibridge_max_body_mib", 1, default=1) * MIB,
        metrics_listen=checked(_read_address, options["aibridge_metrics_listen"], default=None),
        metrics_initiators=options["aibridge_metrics_initiators"],
        metrics_tools=options["aibridge_metrics_tools"],
        metrics_label_values=checked(
            _at_least, options, "aibridge_metrics_label_values", 1, default=1
        ),
        mcp_servers=servers,
        injection=config.injection.filter(),
        tool_call_seconds=checked(_at_least, options, "aibridge_tool_call_seconds", 1, default=1),
        tool_call_max_seconds=checked(
            _at_least, options, "aibridge_tool_call_max_seconds", 1, default=1
        ),
        tool_result_bytes=checked(_at_least, options, "aibridge_tool_result_kib", 1, default=1)
        * KIB,
        tool_iterations=checked(_at_least, options, "aibridge_tool_iterations", 1, default=1),
        tool_loop_seconds=checked(_at_least, options, "aibridge_tool_loop_seconds", 1, default=1),
        doubts=tuple(_doubts(config, options["aibridge_config"])),
    )
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return settings


def ask_rule(value: str | bool) -> str:
    """Return the rule of `aibridge_ask_chat_usage`, also for a value of an earlier version."""
    text = str(value)
    return _OLD_ASK_RULES.get(text.lower(), text)


def unknown_option(name: str) -> str:
    """Return what is wrong with the name of an option of ours that there is not."""
    known = [option.name.removeprefix(PREFIX) for option in OPTIONS]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
    hint = f"did you mean {PREFIX}{close[0]}?" if close else "see the options in the README"
    return f"{name} is not known; {hint}"


def _one_of(options: Mapping[str, Any], name: str, choices: Sequence[str] | None) -> None:
    # mitmproxy shows the choices of an option and does not hold anybody to them.
    if choices and options[name] not in choices:
        raise SettingsError(f"{name} is {options[name]!r}; it must be one of {', '.join(choices)}")


def _at_least(options: Mapping[str, Any], name: str, least: int) -> int:
    value: int = options[name]
    if value < least:
        raise SettingsError(f"{name} is {value}; it must be at least {least}")
    return value


def _read_capture(value: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in value.split(",") if name.strip())
    if unknown := sorted(names - set(CAPTURABLE)):
        raise SettingsError(
            f"aibridge_capture has {', '.join(map(repr, unknown))};"
            f" it may list {', '.join(CAPTURABLE)}"
        )
    return names


def _read_address(value: str) -> tuple[str, int] | None:
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(
            f"aibridge_metrics_listen is {value!r}; it must be host:port, such as 127.0.0.1:9464"
        )
    return host.strip("[]"), int(port)


class _Private(NamedTuple):
    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()


def _read_private_networks(value: str) -> _Private:
    entries = [entry.strip().lower() for entry in value.split(",") if entry.strip()]
    networks: list[Network] = []
    hosts = set()
    wrong = []
    for entry in entries:
        if entry == "*":
            networks += EVERYTHING
        elif network := _network(entry):
            networks.append(network)
        elif is_host_name(entry):
            hosts.add(entry)
        else:
            wrong.append(entry)
    if wrong:
        raise SettingsError(
            f"aibridge_private_networks has {', '.join(map(repr, wrong))}; it may list networks"
            " such as 10.0.0.0/8, addresses, and host names, without ports, or be * for all"
        )
    return _Private(EVERYTHING if "*" in entries else tuple(networks), frozenset(hosts))


def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


_UNSHOWN = "unshown"
"""The type of a mistake whose value may hold a secret, and is left out of the message."""


def _check_base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be a URL such as https://api.example.com/v1")
    if url.query or url.fragment or url.username or url.password:
        raise PydanticCustomError(_UNSHOWN, "must have no user, query or fragment")
    _ = url.port  # raises for a port that is none
    return value


def _check_host(value: str) -> str:
    if not value or any(c in value for c in "/:@ *"):
        raise ValueError("must be a plain host name, without scheme, port, path or wildcard")
    return value.lower()


def _check_provider_type(value: str) -> str:
    if value not in PROVIDER_TYPES:
        raise ValueError(f"input should be {' or '.join(map(repr, PROVIDER_TYPES))}")
    return value


class _ProviderTable(_Table):
    name: Annotated[
        str,
        pydantic.StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64),
    ]
    type: Annotated[str, pydantic.AfterValidator(_check_provider_type)]
    base_url: Annotated[str, pydantic.AfterValidator(_check_base_url)]
    hosts: list[Annotated[str, pydantic.AfterValidator(_check_host)]] | None = None
    api_key_env: Annotated[str, pydantic.StringConstraints(min_length=1)] | None = None
    include_usage: bool | None = None

    def provider(self) -> Provider:
        hosts = self.hosts
        if hosts is None:
            hosts = [(urlsplit(self.base_url).hostname or "").lower()]
        return Provider(
            name=self.name,
            type=self.type,
            base_url=self.base_url,
            hosts=frozenset(hosts),
            api_key_env=self.api_key_env,
            include_usage=self.include_usage,
        )


def _check_match(value: str) -> str:
    if looks_like_secret(value):
        raise PydanticCustomError(_UNSHOWN, "has a key in it: write sha256: and the key's SHA-256")
    if not value.startswith("sha256:"):
        return value
    digest = value.removeprefix("sha256:").lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("must be sha256: and the 64 hexadecimal digits of the key's SHA-256")
    return "sha256:" + digest


class _ActorTable(_Table):
    match: Annotated[
        str, pydantic.StringConstraints(min_length=1), pydantic.AfterValidator(_check_match)
    ]
    id: Annotated[str, pydantic.StringConstraints(min_length=1, max_length=256)]
    metadata: dict[str, Any] = {}


class _Config(_Table):
    providers: list[_ProviderTable] = []
    actors: list[_ActorTable] = []
    mcp_servers: list[ServerTable] = []
    injection: InjectionTable = InjectionTable()


def _read_config(path: str) -> _Config:
    if not path:
        return _Config()
    try:
        document = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8-sig"))
        config = _Config.model_validate(document)
    except OSError as error:
        raise SettingsError(f"aibridge_config {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"aibridge_config {path} is not TOML: {error}") from error
    except pydantic.ValidationError as error:
        mistakes = [_describe(mistake) for mistake in error.errors()]
        raise SettingsError(_listed("aibridge_config", path, mistakes)) from error
    if mistakes := _conflicts(config):
        raise SettingsError(_listed("aibridge_config", path, mistakes))
    return config


def _read_servers(
    config: _Config, options: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[ServerConfig, ...]:
    """Read both kinds of server configuration; mistakes of the one do not hide the other's."""
    mistakes: list[str] = []
    servers: tuple[ServerConfig, ...] = ()
    taken = [table.name for table in config.mcp_servers]
    try:
        servers += servers_of_tables(config.mcp_servers, environ)
    except ServerConfigError as error:
        mistakes.append(_listed("aibridge_config", options["aibridge_config"], error.lines))
    try:
        servers += _read_server_file(options["aibridge_mcp_config"], environ, taken)
    except SettingsError as error:
        mistakes.append(str(error))
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return servers


def _read_server_file(
    path: str, environ: Mapping[str, str], taken: Sequence[str]
) -> tuple[ServerConfig, ...]:
    if not path:
        return ()
    try:
        document = json.loads(Path(path).expanduser().read_text(encoding="utf-8-sig"))
        return servers_of_file(ServerFile.model_validate(document), environ, taken)
    except OSError as error:
        raise SettingsError(f"aibridge_mcp_config {path}: {error.strerror or error}") from error
    except ServerConfigError as error:
        raise SettingsError(_listed("aibridge_mcp_config", path, error.lines)) from error
    except pydantic.ValidationError as error:
        mistakes = [_describe_in_file(mistake) for mistake in error.errors()]
        raise SettingsError(_listed("aibridge_mcp_config", path, mistakes)) from error
    except (ValueError, RecursionError) as error:
        what = str(error) or "nested too deeply"
        raise SettingsError(f"aibridge_mcp_config {path} is not JSON: {what}") from error


def _describe_in_file(mistake: Any) -> str:
    if len(mistake["loc"]) > 1:
        return _describe(mistake)
    return 'has no table of servers; it must be {"mcpServers": {"a-name": {"url": …}}}'


def _listed(option: str, path: str, mistakes: Iterable[str]) -> str:
    return "\n".join(f"{option} {path}: {mistake}" for mistake in mistakes)


def _describe(mistake: Any) -> str:
    *parents, last = mistake["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in mistake["loc"])
    key = key.removeprefix(".")
    if mistake["type"] == "extra_forbidden":
        return f"{key} is not known; {_known_keys(parents, str(last))}"
    if mistake["type"] == "missing":
        return f"{key} is missing"
    if mistake["type"] == _UNSHOWN:
        return f"{key} {mistake['msg']}"
    message = in_words(mistake["type"], key, mistake["input"]) or mistake["msg"].removeprefix(
        "Value error, "
    )
    if SECRET_KEYS & set(mistake["loc"]) or isinstance(mistake["input"], dict | list):
        return f"{key}: {message[0].lower()}{message[1:]}"
    return f"{key} is {mistake['input']!r}: {message[0].lower()}{message[1:]}"


def _doubts(config: _Config, path: str) -> Iterator[str]:
    for index, table in enumerate(config.providers):
        if doubt := doubt_of_base_url(table.type, table.base_url):
            yield f"aibridge_config {path}: providers[{index}].base_url {doubt}"


def _known_keys(parents: list[Any], key: str) -> str:
    tables: dict[str, type[pydantic.BaseModel]] = {
        "providers": _ProviderTable,
        "actors": _ActorTable,
        "mcp_servers": ServerTable,
        "injection": InjectionTable,
    }
    known = list(tables.get(str(parents[0]) if parents else "", _Config).model_fields)
    if close := difflib.get_close_matches(key, known, n=1):
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}"


def _conflicts(config: _Config) -> list[str]:
    mistakes = []
    names: dict[str, int] = {}
    hosts: dict[str, str] = {}
    for index, table in enumerate(config.providers):
        if table.name in names:
            mistakes.append(
                f"providers[{index}].name is {table.name!r}, as is that of"
                f" providers[{names[table.name]}]; names must be unique"
            )
        names[table.name] = index
        for host in sorted(table.provider().hosts):
            if host in hosts and hosts[host] != table.name:
                mistakes.append(
                    f"providers[{index}].hosts has {host!r}, which is also of"
                    f" {hosts[host]!r}; give each host to one instance (hosts = [] for none)"
                )
            hosts[host] = table.name
    matches = [actor.match for actor in config.actors]
    mistakes += [
        f"actors[{index}].match is {match!r} a second time; each must be unique"
        for index, match in enumerate(matches)
        if match in matches[:index]
    ]
    return mistakes


def _with_defaults(tables: Sequence[_ProviderTable]) -> tuple[Provider, ...]:
    """Add the configured instances to the defaults; they win, by name and by host."""
    configured = [table.provider() for table in tables]
    names = {provider.name for provider in configured}
    hosts = {host for provider in configured for host in provider.hosts}
    defaults = (
        Provider(
            name=provider.name,
            type=provider.type,
            base_url=provider.base_url,
            hosts=provider.hosts - hosts,
            api_key_env=provider.api_key_env,
        )
        for provider in DEFAULT_PROVIDERS
        if provider.name not in names
    )
    return (*defaults, *configured)
