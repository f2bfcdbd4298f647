"""Readers of option values: each returns the value of a setting, or raises `ValueError`.

The message of the error continues a sentence that starts with the option's name. Pure.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

type ReadValue = Callable[[Any], Any]

KIB = 1024
MIB = 1024 * 1024


def unchanged(value: Any) -> Any:
    """Return the value as it is."""
    return value


def at_least(least: int, *, unit: float = 1) -> ReadValue:
    """Return the reader of a number, in multiples of `unit`, that has a minimum."""

    def read(value: int) -> float:
        if value < least:
            raise ValueError(f"is {value}; it must be at least {least}")
        return value * unit

    return read


def capped(*, unit: int = 1) -> ReadValue:
    """Return the reader of a limit, in multiples of `unit`; it reads 0 as no limit: None."""
    read = at_least(0, unit=unit)
    return lambda value: read(value) or None


def split_list(value: str) -> list[str]:
    """Return the entries of a comma-separated list, without blanks and empty entries."""
    return [entry for part in value.split(",") if (entry := part.strip())]


def read_names(value: str) -> tuple[str, ...]:
    """Read a list of names or shell patterns; an empty list matches no name."""
    return tuple(split_list(value)) or ("",)


def quoted(entries: list[str]) -> str:
    """Return entries for a message."""
    return ", ".join(map(repr, entries))


def read_otel(value: bool) -> bool:
    """Read whether traces are exported.

    Raises:
        ValueError: OpenTelemetry is not installed.
    """
    if value and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        raise ValueError(
            "is true, and OpenTelemetry is not installed; install aibridge-addon[otel]"
        )
    return value


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent
        return False


def read_address(value: str) -> tuple[str, int] | None:
    """Read host and port to listen on; None if the value is empty.

    Raises:
        ValueError: the value is not host:port.
    """
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"is {value!r}; it must be host:port, such as 127.0.0.1:9464")
    return host.strip("[]"), int(port)
