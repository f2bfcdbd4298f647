"""People: actors with their figures, programs, models and access tokens."""

import sqlite3

from aibridge_addon.report.queries import RequestQuery, grouped
from aibridge_addon.report.rows import GroupRow, PersonRow, TokenUse
from aibridge_addon.store.sqlite.reports import totals

_MOST_ROWS = 10_000
"""Most rows of actors and clients (or models, or tokens) to read."""
_MOST_NAMES = 50
"""Most names of an actor."""


def read(connection: sqlite3.Connection, query: RequestQuery) -> list[PersonRow]:
    """Return the actors, the most expensive first."""
    people = totals.read(connection, grouped(query, ("actor",), query.limit)).rows
    actors = [str(row.names[0]) for row in people]
    clients, models, tokens = (
        _of_actors(connection, query, name) for name in ("client", "model", "token")
    )
    return [
        PersonRow(
            actor=actor,
            clients=tuple(name for name, _ in clients.get(actor, ())),
            models=tuple(name for name, _ in models.get(actor, ())),
            tokens=tuple(
                TokenUse(id=name, figures=row.figures) for name, row in tokens.get(actor, ())
            ),
            figures=person.figures,
        )
        for actor, person in zip(actors, people, strict=True)
    ]


def _of_actors(
    connection: sqlite3.Connection, query: RequestQuery, name: str
) -> dict[str, list[tuple[str, GroupRow]]]:
    """Return the known names of each actor in one grouping."""
    found: dict[str, list[tuple[str, GroupRow]]] = {}
    for row in totals.read(connection, grouped(query, ("actor", name), _MOST_ROWS)).rows:
        actor, value = row.names
        known = found.setdefault(str(actor), [])
        if value is not None and len(known) < _MOST_NAMES:
            known.append((value, row))
    return found
