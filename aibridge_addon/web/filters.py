"""Filters of a page: they live in the URL, so that links, bookmarks and the back button work."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from aibridge_addon.report.periods import instant_text, parse_since, parse_until
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.web.access import Viewer

PERIODS = {"today": "Today", "7d": "7 days", "30d": "30 days", "all": "All time"}
FIELDS = {
    "actor": "actors",
    "team": "teams",
    "model": "models",
    "client": "clients",
    "provider": "providers",
    "session": "sessions",
    "kind": "kinds",
    "status": "statuses",
    "token": "tokens",
    "tool": "tools",
}
"""Parameters of the URL, and the fields of `RequestQuery` that they fill."""
_MOST_VALUES = 20
_MOST_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The filters of a page."""

    period: str
    until: str = ""
    values: tuple[tuple[str, str], ...] = ()
    """Pairs of a key of `FIELDS` and a value."""
    text: str = ""
    cursor: str = ""

    def query(self, viewer: Viewer, now: datetime, **more: Any) -> RequestQuery:
        """Return the query of a viewer, limited to what they may see."""
        return RequestQuery(**self.arguments(viewer, now), **more)

    def arguments(self, viewer: Viewer, now: datetime) -> dict[str, Any]:
        """Return the arguments of a query of a viewer."""
        found: dict[str, Any] = {
            field: tuple(value for name, value in self.values if name == key)
            for key, field in FIELDS.items()
        }
        since, until = _parse(self.period, self.until, now)
        return found | {
            "since": instant_text(since),
            "until": instant_text(until),
            "for_actor": viewer.actor,
            "cursor": self.cursor,
        }

    def url(self, path: str, **changes: str | None) -> str:
        """Return the URL of a page with these filters; a change of None removes a filter.

        The first page is meant unless `cursor` is among the changes.
        """
        pairs = [("period", self.period), ("until", self.until), *self.values, ("q", self.text)]
        kept = [(name, value) for name, value in pairs if value and name not in changes]
        kept += [(name, value) for name, value in changes.items() if value]
        return f"{path}?{urlencode(kept)}"

    def without(self, name: str, value: str) -> "Filters":
        """Return the filters without one of the values."""
        return replace(self, values=tuple(v for v in self.values if v != (name, value)), cursor="")

    @property
    def is_live(self) -> bool:
        """True if new requests belong at the top of the list."""
        return not (self.cursor or self.text or self.until or self.period == "yesterday")


def read_filters(params: QueryParams, now: datetime, default: str = "7d") -> Filters:
    """Return the filters of a URL; periods that cannot be read become the default."""
    period, until = params.get("period") or default, params.get("until", "")
    try:
        _parse(period, until, now)
    except (ValueError, OverflowError):
        period, until = default, ""
    return Filters(
        period=period,
        until=until,
        values=tuple(_values(params.multi_items())),
        text=params.get("q", "").strip()[:_MOST_CHARACTERS],
        cursor=params.get("cursor", "")[:_MOST_CHARACTERS],
    )


def _values(items: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    pairs = dict.fromkeys((name, value.strip()) for name, value in items if name in FIELDS)
    useful = [(n, v) for n, v in pairs if v and len(v) <= _MOST_CHARACTERS]
    return useful[:_MOST_VALUES]


def _parse(period: str, until: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    since = parse_since(period, now)
    end = parse_until(until, now) if until else None
    return since, parse_until(period, now) if not until and period == "yesterday" else end
