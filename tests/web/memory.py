"""Reports on requests in memory, for tests of the page."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.report.rows import (
    ExportRow,
    GroupRow,
    InterceptionDetail,
    Latency,
    Live,
    Page,
    PersonRow,
    RateLimitRow,
    RequestRow,
    SearchHit,
    SessionDetail,
    SessionRow,
    TokenUse,
    Totals,
    TunnelRow,
)

_GROUPS: dict[str, Callable[[RequestRow], Sequence[str | None]]] = {
    "hour": lambda row: [row.started_at[:13] + ":00"],
    "day": lambda row: [row.started_at[:10]],
    "actor": lambda row: [row.actor],
    "model": lambda row: [row.model],
    "client": lambda row: [row.client],
    "provider": lambda row: [row.provider],
    "tool": lambda row: row.tools,
}
_FILTERS = {
    "actors": "actor",
    "models": "model",
    "clients": "client",
    "sessions": "session",
    "kinds": "kind",
    "statuses": "status",
    "tokens": "token",
}

_COUNTS = (
    *("requests", "completed", "failed", "cancelled", "refused"),
    *("input", "cache_read", "cache_write", "output", "without_usage", "unpriced"),
)


class MemoryReports(Reports):
    """Reports on a list of requests, oldest first; requests can be added while a page is open."""

    def __init__(self, *details: InterceptionDetail) -> None:
        self.details = list(details)
        self.limits: list[RateLimitRow] = []
        self.unread: list[TunnelRow] = []

    def totals(self, query: TotalsQuery) -> Totals:
        rows = self._rows(query)
        groups: dict[tuple[str | None, ...], list[Figures]] = {}
        for row in rows:
            for names in _names(row, query.by):
                groups.setdefault(names, []).append(row.figures)
        found = [GroupRow(names=names, figures=_sum(each)) for names, each in groups.items()]
        return Totals(
            rows=tuple(found[: query.limit]),
            more=max(0, len(found) - (query.limit or len(found))),
            overall=_sum(row.figures for row in rows),
        )

    def sessions(self, query: RequestQuery) -> Page[SessionRow]:
        sessions: dict[tuple[str, str], list[RequestRow]] = {}
        for row in self._rows(query):
            if row.session:
                sessions.setdefault((row.session, row.actor), []).append(row)
        return Page(rows=tuple(map(_session, sessions.values())))

    def people(self, query: RequestQuery) -> list[PersonRow]:
        rows = self._rows(query)
        return [
            _person(name, [row for row in rows if row.actor == name])
            for name in dict.fromkeys(row.actor for row in rows)
        ]

    def latency(self, query: RequestQuery) -> Latency:
        times = [row.ttft_ms for row in self._rows(query) if row.ttft_ms is not None]
        return Latency(requests=len(times), ttft_ms_p50=min(times, default=None))

    def requests(self, query: RequestQuery) -> Page[RequestRow]:
        rows = self._rows(query)[::-1]
        start = int(query.cursor or 0)
        end = start + (query.limit or len(rows))
        return Page(rows=tuple(rows[start:end]), next_cursor=str(end) if end < len(rows) else "")

    def ended_since(self, cursor: str | None, query: RequestQuery) -> Live:
        end = str(len(self.details))
        if cursor is None:
            return Live(cursor=end)
        new = [detail.row.id for detail in self.details[int(cursor) :]]
        return Live(rows=tuple(r for r in self._rows(query) if r.id in new), cursor=end)

    def interception(
        self, id_or_prefix: str, for_actor: str | None = None
    ) -> InterceptionDetail | None:
        for detail in self.details:
            if detail.row.id == id_or_prefix and for_actor in (None, detail.row.actor):
                return detail
        return None

    def session(self, id_or_prefix: str, for_actor: str | None = None) -> SessionDetail | None:
        query = RequestQuery(sessions=(id_or_prefix,), for_actor=for_actor)
        rows = self._rows(query)
        return SessionDetail(session=_session(rows), requests=tuple(rows)) if rows else None

    def search(self, text: str, query: RequestQuery) -> Page[SearchHit]:
        hits = [
            SearchHit(
                request=row,
                source="prompt",
                snippet=(row.prompt or "").replace(text, f"\x02{text}\x03"),
            )
            for row in self._rows(query)
            if text in (row.prompt or "")
        ]
        return Page(rows=tuple(hits))

    def export(self, query: RequestQuery, *, content: bool = False) -> Iterator[ExportRow]:
        shown = {row.id for row in self._rows(query)}
        for number, detail in enumerate(self.details):
            if detail.row.id in shown:
                yield ExportRow(cursor=str(number + 1), detail=detail)

    def tunnels(self, query: RequestQuery, *, by_actor: bool = False) -> list[TunnelRow]:
        return [row for row in self.unread if query.for_actor in (None, row.actor)]

    def rate_limits(self) -> list[RateLimitRow]:
        return list(self.limits)

    def _rows(self, query: RequestQuery) -> list[RequestRow]:
        rows = [detail.row for detail in self.details]
        if query.for_actor is not None:
            rows = [row for row in rows if row.actor == query.for_actor]
        for field, name in _FILTERS.items():
            if wanted := getattr(query, field):
                rows = [row for row in rows if getattr(row, name) in wanted]
        if query.tools:
            rows = [row for row in rows if set(query.tools) & set(row.tools)]
        return rows


def _names(row: RequestRow, by: tuple[str, ...]) -> list[tuple[str | None, ...]]:
    found: list[tuple[str | None, ...]] = [()]
    for each in by:
        found = [(*names, name) for names in found for name in _GROUPS[each](row)]
    return found if by else []


def _sum(figures: Iterable[Figures]) -> Figures:
    total = Figures()
    for each in figures:
        changes = {name: getattr(total, name) + getattr(each, name) for name in _COUNTS}
        costs = [cost for cost in (total.cost_nano_usd, each.cost_nano_usd) if cost is not None]
        total = replace(
            total,
            **changes,
            cost_nano_usd=sum(costs) if costs else None,
            unpriced_models=tuple({*total.unpriced_models, *each.unpriced_models}),
            unpriced_reasons=tuple({*total.unpriced_reasons, *each.unpriced_reasons}),
            latest=max(total.latest, each.latest),
        )
    return total


def _session(rows: Sequence[RequestRow]) -> SessionRow:
    first = rows[0]
    return SessionRow(
        id=first.session or "",
        actor=first.actor,
        client=first.client,
        started_at=first.started_at,
        latest_at=rows[-1].started_at,
        models=tuple(dict.fromkeys(row.model or "" for row in rows)),
        prompt=first.prompt,
        figures=_sum(row.figures for row in rows),
    )


def _person(name: str, rows: Sequence[RequestRow]) -> PersonRow:
    tokens = dict.fromkeys(row.token for row in rows if row.token)
    return PersonRow(
        actor=name,
        clients=tuple(dict.fromkeys(row.client for row in rows)),
        models=tuple(dict.fromkeys(row.model or "" for row in rows)),
        tokens=tuple(
            TokenUse(id=token, figures=_sum(row.figures for row in rows if row.token == token))
            for token in tokens
        ),
        figures=_sum(row.figures for row in rows),
    )
