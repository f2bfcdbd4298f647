"""The config file (TOML): its tables, and the mistakes that a table alone does not show."""

import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import pydantic
from pydantic_core import PydanticCustomError

from aibridge_addon.access.selection import Patterns
from aibridge_addon.config.alert_table import AlertTable
from aibridge_addon.config.budget_table import BudgetTable
from aibridge_addon.config.control_tables import LimitTable, ModelRuleTable, name_conflicts
from aibridge_addon.config.doubts import doubt_of_base_url, looks_like_secret
from aibridge_addon.config.front_proxy_table import FrontProxyTable
from aibridge_addon.config.guardrails_table import GuardrailsTable
from aibridge_addon.config.identity_table import (
    ClaimsTable,
    IdentityTable,
    JWTTable,
    issuer_conflicts,
)
from aibridge_addon.config.mcp_file import InjectionTable, ServerTable
from aibridge_addon.config.mistakes import SettingsError, listed
from aibridge_addon.config.price_table import PriceTable, check_seller, price_book
from aibridge_addon.config.provider_conflicts import provider_conflicts
from aibridge_addon.config.redact_table import RedactTable
from aibridge_addon.config.regional_hosts import with_regional_hosts
from aibridge_addon.config.resend_tables import ResendTable
from aibridge_addon.config.validation import TABLE, UNSHOWN, Tables, VariableName, mistakes_of
from aibridge_addon.patterns import matches_any
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS, default_hosts
from aibridge_addon.providers.hosts import bare_host, is_pattern, matches_host, mistake_in_pattern
from aibridge_addon.providers.identity import Actor
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.known_hosts import values_of_preset
from aibridge_addon.providers.presets import PRESETS
from aibridge_addon.providers.types import PROVIDER_TYPES

OPTION = "aibridge_config"
NO_HOSTS: frozenset[str] = frozenset()


def _check_base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be a URL such as https://api.example.com/v1")
    if url.query or url.fragment or url.username or url.password:
        raise PydanticCustomError(UNSHOWN, "must have no user, query or fragment")
    _ = url.port  # raises `ValueError` if it is not a port
    return value


def _check_host(value: str) -> str:
    if not value or any(c in value for c in "/:@ "):
        raise ValueError("must be a host name, without scheme, port or path")
    host = bare_host(value)
    if is_pattern(host) and (mistake := mistake_in_pattern(host)):
        raise ValueError(mistake)
    return value.lower()


def _check_path(value: str) -> str:
    if value and (not value.startswith("/") or value.endswith("/") or {*"?#*"} & {*value}):
        raise ValueError("must be a path such as /anthropic, or empty")
    return value


def _check_provider_type(value: str) -> str:
    if value not in PROVIDER_TYPES:
        raise ValueError(f"input should be {' or '.join(map(repr, PROVIDER_TYPES))}")
    return value


class ProviderTable(ResendTable, pydantic.BaseModel):
    """A provider instance, `[[providers]]`."""

    model_config = TABLE

    name: Annotated[
        str,
        pydantic.StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64),
    ]
    type: Annotated[str, pydantic.AfterValidator(_check_provider_type)]
    base_url: Annotated[str, pydantic.AfterValidator(_check_base_url)] = ""
    hosts: list[Annotated[str, pydantic.AfterValidator(_check_host)]] | None = None
    preset: str | None = None
    anthropic_path: Annotated[str, pydantic.AfterValidator(_check_path)] | None = None
    api_key_env: VariableName | None = None
    models: dict[str, str] = {}
    include_usage: bool | None = None
    region: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z0-9-]+$")] | None = None
    profile: str | None = None
    circuit_breaker: bool = False
    send_actor: bool = False
    price_as: Annotated[str, pydantic.AfterValidator(check_seller)] | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def fill_from_preset(cls, given: Any) -> Any:
        """Add the values of the preset that are not given."""
        if not isinstance(given, dict) or "preset" not in given:
            return given
        preset = PRESETS.get(str(given["preset"]))
        if preset is None:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}")
        return {**values_of_preset(preset, has_url="base_url" in given), **given}

    @pydantic.model_validator(mode="after")
    def _has_regions(self) -> Self:
        kind = PROVIDER_TYPES[self.type]
        if self.region and not kind.regional_url:
            raise ValueError(f"region is not for the type {self.type!r}")
        if self.profile and not (self.region and kind.signing_service):
            raise ValueError("profile needs a type whose requests are signed, and region")
        return self

    def provider(self) -> Provider:
        """Return the provider instance; without `hosts` it has the host of its URL."""
        hosts = self.hosts
        if hosts is None and self.region:
            hosts = list(default_hosts(self.type))
        elif hosts is None:
            hosts = list(filter(None, [(urlsplit(self.base_url).hostname or "").lower()]))
        return Provider(
            name=self.name,
            type=self.type,
            base_url=self.base_url or PROVIDER_TYPES[self.type].url_in(self.region),
            hosts=frozenset(hosts),
            api_key_env=self.api_key_env,
            models=self.models,
            anthropic_path=self.anthropic_path,
            keys=self.central_keys(),
            resend=self.resend_rules(),
            include_usage=self.include_usage,
            circuit_breaker=self.circuit_breaker,
            region=self.region,
            profile=self.profile,
            send_actor=self.send_actor,
            price_as=self.price_as,
        )


def _check_match(value: str) -> str:
    if looks_like_secret(value):
        raise PydanticCustomError(
            UNSHOWN, "contains a key; write sha256: and the key's SHA-256 instead"
        )
    if not value.startswith("sha256:"):
        return value
    digest = value.removeprefix("sha256:").lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("must be sha256: and the 64 hexadecimal digits of the key's SHA-256")
    return "sha256:" + digest


class ActorTable(pydantic.BaseModel):
    """A known actor, `[[actors]]`."""

    model_config = TABLE

    match: Annotated[
        str, pydantic.StringConstraints(min_length=1), pydantic.AfterValidator(_check_match)
    ]
    id: Annotated[str, pydantic.StringConstraints(min_length=1, max_length=256)]
    metadata: dict[str, Any] = {}


def _without(hosts: Iterable[str], taken: Collection[str]) -> frozenset[str]:
    """Return the hosts and patterns that neither another host equals nor its pattern matches."""
    return frozenset(
        host for host in hosts if not any(t == host or matches_host(t, host) for t in taken)
    )


class ConfigFile(pydantic.BaseModel):
    """All tables of the config file."""

    model_config = TABLE

    providers: list[ProviderTable] = []
    actors: list[ActorTable] = []
    front_proxies: list[FrontProxyTable] = []
    identity: IdentityTable = IdentityTable()
    prices: list[PriceTable] = []
    redact: list[RedactTable] = []
    mcp_servers: list[ServerTable] = []
    injection: InjectionTable = InjectionTable()
    budgets: list[BudgetTable] = []
    limits: list[LimitTable] = []
    guardrails: GuardrailsTable = GuardrailsTable()
    alerts: list[AlertTable] = []
    model_rules: list[ModelRuleTable] = []

    def provider_instances(self, intercept: Patterns = ()) -> tuple[Provider, ...]:
        """Return the built-in instances and the configured ones, which win by name and host.

        Built-in instances that `intercept` does not name are for the reverse proxy only.
        """
        configured = [table.provider() for table in self.providers]
        names = {provider.name for provider in configured}
        taken = [host for provider in configured for host in provider.hosts]
        defaults = (
            replace(
                provider,
                hosts=_without(provider.hosts, taken)
                if matches_any(provider.name, intercept)
                else NO_HOSTS,
            )
            for provider in DEFAULT_PROVIDERS
            if provider.name not in names
        )
        return (*defaults, *configured)

    def price_book(self) -> PriceBook:
        """Return the prices for the calls to all instances."""
        return price_book(self.provider_instances(), self.prices)

    def known_actors(self) -> Mapping[str, Actor]:
        """Return the known actors by credential fingerprint or header value."""
        return {actor.match: Actor(id=actor.id, metadata=actor.metadata) for actor in self.actors}

    def doubts(self, path: str) -> Iterator[str]:
        """Yield a warning for each value that is legal, but probably wrong."""
        for index, table in enumerate(self.providers):
            if table.base_url and (doubt := doubt_of_base_url(table.type, table.base_url)):
                yield f"{OPTION} {path}: providers[{index}].base_url {doubt}"


_TABLES: Tables = {
    "": ConfigFile,
    "providers": ProviderTable,
    "actors": ActorTable,
    "front_proxies": FrontProxyTable,
    "identity": IdentityTable,
    "identity.jwt": JWTTable,
    "identity.jwt.claims": ClaimsTable,
    "prices": PriceTable,
    "redact": RedactTable,
    "mcp_servers": ServerTable,
    "injection": InjectionTable,
    "budgets": BudgetTable,
    "limits": LimitTable,
    "guardrails": GuardrailsTable,
    "alerts": AlertTable,
    "model_rules": ModelRuleTable,
}


def read_config_file(path: str) -> ConfigFile:
    """Read the config file; without a path it is empty.

    Raises:
        SettingsError: the file cannot be read.
        ConfigFileError: with all of its mistakes.
    """
    if not path:
        return ConfigFile()
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
        document = with_regional_hosts(tomllib.loads(text))
        config = ConfigFile.model_validate(document)
    except OSError as error:
        raise SettingsError(f"{OPTION} {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{OPTION} {path} is not TOML: {error}") from error
    except pydantic.ValidationError as error:
        mistakes = [*mistakes_of(error, _TABLES, document), *_conflicts_of_readable(document)]
        raise ConfigFileError(path, mistakes, _readable(document)) from error
    mistakes = list(_conflicts_of_readable(document))
    if mistakes:
        raise ConfigFileError(path, mistakes, _readable(document))
    return config


class ConfigFileError(SettingsError):
    """The config file has mistakes."""

    def __init__(self, path: str, mistakes: Iterable[str], readable: ConfigFile) -> None:
        super().__init__(listed(OPTION, path, mistakes))
        self.readable = readable
        """The tables without mistakes among those that are checked further."""


_STAND_INS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "alerts": lambda index: {"url": "https://example.invalid/"},
    "mcp_servers": lambda index: {"name": f"unread-{index}", "url": "https://example.invalid/"},
}
"""Tables in place of those with mistakes, so that the others keep their numbers."""


def _readable(document: dict[str, Any]) -> ConfigFile:
    """Return the tables without mistakes that are checked further, by the environment and so on."""
    found = {
        key: [
            table if _is_valid(key, [table]) else stand_in(index)
            for index, table in enumerate(document[key])
        ]
        for key, stand_in in _STAND_INS.items()
        if isinstance(document.get(key), list)
    }
    if "guardrails" in document and _is_valid("guardrails", document["guardrails"]):
        found["guardrails"] = document["guardrails"]
    return ConfigFile.model_validate(found)


def _is_valid(key: str, value: object) -> bool:
    try:
        ConfigFile.model_validate({key: value})
    except pydantic.ValidationError:
        return False
    return True


def _conflicts_of_readable(document: dict[str, Any]) -> Iterator[str]:
    """Yield the conflicts between tables, whatever else is wrong with them."""
    identity = document.get("identity")
    jwt = identity.get("jwt") if isinstance(identity, dict) else None
    yield from provider_conflicts(document)
    yield from _actor_conflicts(_named(document.get("actors"), "match"))
    yield from name_conflicts("budgets", _named(document.get("budgets"), "name"))
    yield from name_conflicts("limits", _named(document.get("limits"), "name"))
    yield from issuer_conflicts(_named(jwt, "issuer"))


def _named(tables: object, key: str) -> Sequence[Any]:
    """Return objects with the names of tables; a table without a name conflicts with no other."""
    found = tables if isinstance(tables, list) else []
    names = (table.get(key) if isinstance(table, dict) else None for table in found)
    return [SimpleNamespace(**{key: name or object()}) for name in names]


def _actor_conflicts(tables: Sequence[Any]) -> Iterator[str]:
    matches = [_normalized(actor.match) for actor in tables]
    for index, match in enumerate(matches):
        if match in matches[:index]:
            yield f"actors[{index}].match is {match!r} again; each match must be unique"


def _normalized(match: object) -> object:
    is_digest = isinstance(match, str) and match.startswith("sha256:")
    return match.lower() if is_digest and isinstance(match, str) else match
