"""States of central keys, as the running proxy reports them with its health."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any

from aibridge_addon.cli import running
from aibridge_addon.cli.checks.health import request_health
from aibridge_addon.cli.tables import printable
from aibridge_addon.report.limits import span

_WIDTH = 80

type KeyState = Mapping[str, Any]


def read_key_states() -> Sequence[KeyState]:
    """Return the states of the keys in the pools of the running proxy; empty without such keys."""
    proxy = running.find()
    if proxy is None or proxy.metrics_url is None:
        return ()
    try:
        states: Sequence[KeyState] = request_health(proxy.metrics_url).get("keys", ())
    except (OSError, HTTPException, ValueError, AttributeError):
        return ()
    return states


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
