"""States of central keys and limits, as the running proxy reports them with its health."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any

from aibridge_addon.cli import running
from aibridge_addon.cli.checks.health import request_health
from aibridge_addon.cli.tables import printable
from aibridge_addon.report.limits import span

_WIDTH = 80

type KeyState = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class States:
    """States that the running proxy reports; empty if none runs, or if it serves no metrics."""

    keys: Sequence[KeyState] = ()
    """States of the keys in pools."""
    limits: Mapping[str, int] | None = None
    """The way in which the limits of the config file count."""


def read_states() -> States:
    """Return the states in the running proxy."""
    proxy = running.find()
    if proxy is None or proxy.metrics_url is None:
        return States()
    try:
        health = request_health(proxy.metrics_url)
        return States(health.get("keys", ()), health.get("limits"))
    except (OSError, HTTPException, ValueError, AttributeError):
        return States()


def limits_line(limits: Mapping[str, int]) -> str:
    """Word how the limits of the config file count; shared ones on a line of their own."""
    lines = []
    if limits.get("shared"):
        lines.append(f"Shared limits: {_shared(together=bool(limits['together']))}")
    if limits.get("divided", 1):
        lines.append(f"Limits of the config file: {_divided(limits['processes'])}")
    return "\n".join(lines)


def _shared(*, together: bool) -> str:
    if together:
        return "counted in the database for all processes."
    return "the database does not respond; each process enforces its part."


def _divided(processes: int) -> str:
    if processes == 1:
        return "enforced by this process alone."
    return f"each of {processes} processes enforces 1/{processes}."


def key_lines(states: Sequence[KeyState], now: datetime) -> Iterator[str]:
    """Yield a line for each key, and one for the reason why it cannot be used."""
    for state in states:
        organization = f" ({state['organization']})" if state["organization"] else ""
        title = f"{state['provider']} · {state['key']}{organization}"
        shown = state["state"]
        if state["since"]:
            shown += f" {span(now - datetime.fromisoformat(state['since']))} ago"
        yield f"{printable(title):<{_WIDTH - len(shown) - 1}} {shown}"
        if state["reason"]:
            yield f"  {printable(state['reason'])}{_next(state, now)}"


def _next(state: KeyState, now: datetime) -> str:
    if not state["next_check"]:
        return ""
    left = datetime.fromisoformat(state["next_check"]) - now + timedelta(seconds=0.5)
    verb = "checked again" if state["is_checked"] else "used again"
    return f"; {verb} in {span(left)}"
