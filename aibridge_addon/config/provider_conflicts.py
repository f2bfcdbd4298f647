"""Mistakes in `[[providers]]` that a key alone does not show: names, hosts, keys and fallbacks.

They are read from the document itself, so that mistakes in other keys do not hide them.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aibridge_addon.config.doubts import looks_like_secret
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS, default_hosts
from aibridge_addon.providers.known_hosts import values_of_preset
from aibridge_addon.providers.presets import PRESETS
from aibridge_addon.providers.types import PROVIDER_TYPES


@dataclass(frozen=True, slots=True)
class _Table:
    """A table; what cannot be read is missing."""

    place: str
    """Place of the table in the document."""
    values: Mapping[str, Any]

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    @property
    def name(self) -> str | None:
        return self.text("name")

    @property
    def type(self) -> str | None:
        found = self.text("type")
        return found if found in PROVIDER_TYPES else None

    @property
    def has_url(self) -> bool:
        """True if it has an address of its own, and not only the hosts that clients choose."""
        return bool(self.text("base_url") or self.text("region") or self.text("preset"))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it has, or those of its region or URL."""
        hosts = self.values.get("hosts")
        if isinstance(hosts, list):
            return frozenset(host.lower() for host in hosts if isinstance(host, str))
        if self.text("region"):
            return frozenset(default_hosts(self.type) if self.type else ())
        with contextlib.suppress(ValueError):
            return frozenset(filter(None, [urlsplit(self.text("base_url") or "").hostname]))
        return frozenset()

    def texts_of(self, key: str, member: str) -> Iterator[tuple[int, str]]:
        """Yield a member of each element of a list, with the number of the element."""
        found = self.values.get(key)
        for number, element in enumerate(found if isinstance(found, list) else ()):
            if isinstance(element, dict) and isinstance(text := element.get(member), str):
                yield number, text


def provider_conflicts(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the mistakes of all tables."""
    found = document.get("providers")
    tables = [
        _Table(f"providers[{index}]", _with_preset(values))
        for index, values in enumerate(found if isinstance(found, list) else ())
        if isinstance(values, dict)
    ]
    yield from _place_conflicts(tables)
    types = {instance.name: instance.type for instance in DEFAULT_PROVIDERS}
    known: dict[str, str | None] = {**types, **{t.name: t.type for t in tables if t.name}}
    urls = {instance.name: bool(instance.base_url) for instance in DEFAULT_PROVIDERS}
    urls |= {table.name: table.has_url for table in tables if table.name}
    for table in tables:
        yield from _key_conflicts(table)
        yield from _fallback_conflicts(table, known, urls)


def _with_preset(values: dict[str, Any]) -> dict[str, Any]:
    preset = PRESETS.get(str(values.get("preset")))
    if preset is None:
        return values
    return {**values_of_preset(preset, has_url="base_url" in values), **values}


def _place_conflicts(tables: Sequence[_Table]) -> Iterator[str]:
    """Yield repeated names and hosts, and tables without a URL."""
    names: dict[str, str] = {}
    hosts: dict[str, str | None] = {}
    for table in tables:
        if table.name in names:
            yield (
                f"{table.place}.name is {table.name!r}, the same as"
                f" {names[table.name]}.name; names must be unique"
            )
        if table.name:
            names[table.name] = table.place
        if not any(table.values.get(key) for key in ("base_url", "hosts", "region", "preset")):
            yield f"{table.place}.base_url is missing; only an instance with hosts needs none"
        for host in sorted(table.hosts):
            if host in hosts and hosts[host] != table.name:
                yield (
                    f"{table.place}.hosts has {host!r}, which instance {hosts[host]!r} has"
                    " too; give each host to one instance (hosts = [] for none)"
                )
            hosts[host] = table.name


def _fallback_conflicts(
    table: _Table, types: Mapping[str, str | None], urls: Mapping[str, bool]
) -> Iterator[str]:
    for number, provider in table.texts_of("fallbacks", "provider"):
        where = f"{table.place}.fallbacks[{number}].provider is {provider!r}"
        if provider not in types:
            yield f"{where}, which no instance is named; known are {', '.join(types)}"
        elif provider == table.name:
            yield f"{where}, the instance itself"
        elif table.type and types[provider] not in (None, table.type):
            yield f"{where}, an instance of another type; its wire formats must be the same"
        elif not urls[provider]:
            yield f"{where}, which has no base_url; a fallback needs an address"


def _key_conflicts(table: _Table) -> Iterator[str]:
    if table.values.get("keys") and table.values.get("api_key_env"):
        yield f"{table.place} has keys and api_key_env; write the key of api_key_env into keys"
    seen: set[str] = set()
    for number, env in table.texts_of("keys", "env"):
        if env in seen and not looks_like_secret(env):
            yield f"{table.place}.keys[{number}].env is {env!r} again; name each key once"
        seen.add(env)
