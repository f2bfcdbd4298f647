"""Requests as lines of a terminal: one line each, in columns that fit into 80 characters."""

from datetime import datetime

import click

from aibridge_addon.cli.safe_text import fit
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import UNKNOWN, usd
from aibridge_addon.report.numbers import duration, short_count
from aibridge_addon.report.rows import RequestRow

SHORT_ID = 8
"""Characters at the end of an id that name a request; `aibridge show` accepts them."""
_FLEXIBLE = {"actor": 8, "client": 11, "model": 15}
"""Columns that take what a wide terminal has left, with their width in 80 columns."""
_FIXED = {"time": 8, "status": 6, "tokens": 11, "cost": 9, "ttft": 5}
_ORDER = ("time", "status", "actor", "client", "model", "tokens", "cost", "ttft")
_RIGHT = {"tokens", "cost", "ttft"}
_STATUS = {"completed": "ok", "cancelled": "cancel", "refused": "refuse", "interrupted": "broken"}
_COLORS = {"completed": None, "cancelled": "yellow", None: "cyan"}


def heading(width: int) -> str:
    """Return the names of the columns."""
    names = dict.fromkeys(_ORDER, "") | {name: name for name in _ORDER} | {"id": "id"}
    return _joined(names, width).rstrip()


def request_line(row: RequestRow, width: int) -> str:
    """Return a request as a line."""
    values = {
        "time": f"{datetime.fromisoformat(row.ended_at or row.started_at).astimezone():%H:%M:%S}",
        "status": _status(row),
        "actor": row.actor,
        "client": row.client,
        "model": row.model or "unknown",
        "tokens": tokens(row.figures),
        "cost": cost(row.figures),
        "ttft": duration(row.ttft_ms if row.ttft_ms is not None else row.duration_ms),
        "id": row.id[-SHORT_ID:],
    }
    line = _joined(values, width).rstrip()
    color = _COLORS.get(row.status, "red")
    return click.style(line, fg=color) if color else line


def _status(row: RequestRow) -> str:
    if row.status is None:
        return "open"
    if row.status == "failed" and row.http_status and row.http_status >= 400:
        return str(row.http_status)
    return _STATUS.get(row.status, row.status)


def tokens(figures: Figures) -> str:
    """Return input and output tokens: `12.9k→60`; a dash if none were reported."""
    if not figures.calls or figures.tokens_unknown:
        return UNKNOWN
    return f"{short_count(figures.total_input)}→{short_count(figures.output)}"


def cost(figures: Figures) -> str:
    """Return the money of a request; a list price that is not billed is in parentheses."""
    if figures.list_price_nano_usd is not None:
        return f"({usd(figures.list_price_nano_usd)})"
    return usd(figures.cost_nano_usd)


def _joined(values: dict[str, str], width: int) -> str:
    widths = _FIXED | _FLEXIBLE
    order = list(_ORDER)
    left = width - sum(widths.values()) - len(order) + 1
    if left > SHORT_ID:
        order.append("id")
        widths = widths | {"id": SHORT_ID}
        share = (left - SHORT_ID - 1) // len(_FLEXIBLE)
        widths = widths | {name: size + min(share, 12) for name, size in _FLEXIBLE.items()}
    cells = (fit(values[name], widths[name], right=name in _RIGHT) for name in order)
    return " ".join(cells)
