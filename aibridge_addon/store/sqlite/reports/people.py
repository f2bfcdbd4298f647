"""People: actors with their figures, programs, models and access tokens."""

from aibridge_addon.report.queries import RequestQuery, grouped
from aibridge_addon.report.rows import GroupRow, PersonRow, TokenUse
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sqlite.reports import totals
from aibridge_addon.store.sqlite.reports.totals import Names

_MOST_ROWS = 10_000
"""Most rows of actors and clients (or models, or tokens) to read."""
_PROGRAMS = ("actor", "client", "model")
_MOST_NAMES = 50
"""Most names of an actor."""


def read(connection: Connection, query: RequestQuery) -> list[PersonRow]:
    """Return the actors, the most expensive first."""
    people, _ = totals.grouped_rows(connection, grouped(query, ("actor",), query.limit))
    by_token = grouped(query, ("actor", "token"), _MOST_ROWS)
    tokens, _ = totals.grouped_rows(connection, by_token)
    programs = totals.group_names(connection, grouped(query, _PROGRAMS, _MOST_ROWS))
    return [
        PersonRow(
            actor=str(person.names[0]),
            clients=_names(programs, person, 1),
            models=_names(programs, person, 2),
            tokens=tuple(
                TokenUse(id=row.names[1], figures=row.figures)
                for row in tokens
                if row.names[0] == person.names[0] and row.names[1]
            )[:_MOST_NAMES],
            figures=person.figures,
        )
        for person in people
    ]


def _names(rows: list[Names], person: GroupRow, index: int) -> tuple[str, ...]:
    """Return the known names of an actor in one grouping."""
    names = (row[index] for row in rows if row[0] == person.names[0])
    return tuple(dict.fromkeys(name for name in names if name))[:_MOST_NAMES]
