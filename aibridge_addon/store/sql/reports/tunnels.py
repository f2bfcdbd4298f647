"""Tunnels to AI services that are not read, by host."""

from aibridge_addon.report.periods import normal_text
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import TunnelRow
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports.selection import Selection


def read_tunnels(connection: Connection, query: RequestQuery, *, by_actor: bool) -> list[TunnelRow]:
    """Return a row for each host, or for each host and actor; the largest first."""
    selection = _selection(query)
    where = " AND ".join(selection.conditions) or "TRUE"
    actor, group = ("initiator_id", "host, initiator_id") if by_actor else ("NULL", "host")
    # Only names from this file go into it.
    sql = (
        f"SELECT host, max(service), {actor}, count(DISTINCT initiator_id), count(*),"  # noqa: S608
        " sum(bytes_sent), sum(bytes_received), sum(duration_ms), max(started_at)"
        f" FROM aibridge_tunnels WHERE {where} GROUP BY {group}"
        " ORDER BY sum(bytes_sent) + sum(bytes_received) DESC, host, 3"
    )
    return [
        TunnelRow(
            host=host,
            service=service,
            actor=name,
            actors=actors,
            tunnels=tunnels,
            bytes_sent=int(sent),
            bytes_received=int(received),
            duration_ms=int(duration_ms),
            latest=latest,
        )
        for (
            host,
            service,
            name,
            actors,
            tunnels,
            sent,
            received,
            duration_ms,
            latest,
        ) in connection.execute(sql, selection.values)
    ]


def _selection(query: RequestQuery) -> Selection:
    selection = Selection()
    if query.since:
        selection.add(f"started_at >= {selection.bind(normal_text(query.since))}")
    if query.until:
        selection.add(f"started_at < {selection.bind(normal_text(query.until))}")
    if query.actors:
        selection.add_any_of("initiator_id", query.actors)
    if query.for_actor is not None:
        selection.add(f"initiator_id = {selection.bind(query.for_actor)}")
    return selection
