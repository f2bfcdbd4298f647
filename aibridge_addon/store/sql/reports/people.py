"""People: actors with their figures, programs, models and access tokens."""

from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import GroupRow, PersonRow, TokenUse
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.reports import totals
from aibridge_addon.store.sql.reports.levels import Groups, Level
from aibridge_addon.store.sql.reports.totals import HEAVIEST_FIRST

_MOST_ROWS = 10_000
"""Most rows of actors and clients (or models, or tokens) to read."""
_MOST_NAMES = 50
"""Most names of an actor."""


def read(connection: Connection, query: RequestQuery) -> list[PersonRow]:
    """Return the actors, the most expensive first."""
    chosen = (
        Level(("name0",), (*HEAVIEST_FIRST, "name0"), query.limit),
        Level(("name0", "name1"), (*HEAVIEST_FIRST, "name0", "name1"), _MOST_ROWS),
        Level(("name0", "name2", "model"), ("requests DESC",), _MOST_ROWS),
    )
    people, tokens, programs = totals.read_levels(
        connection, query, ("actor", "token", "client"), chosen
    )
    return [
        PersonRow(
            actor=str(person.names[0]),
            clients=_names(programs, person, 1),
            models=_names(programs, person, 2),
            tokens=tuple(
                TokenUse(id=row.names[1], figures=row.figures)
                for row in tokens.rows
                if row.names[0] == person.names[0] and row.names[1]
            )[:_MOST_NAMES],
            figures=person.figures,
        )
        for person in people.rows
    ]


def _names(programs: Groups, person: GroupRow, index: int) -> tuple[str, ...]:
    """Return the known names of an actor in one grouping."""
    names = (row.names[index] for row in programs.rows if row.names[0] == person.names[0])
    return tuple(dict.fromkeys(name for name in names if name))[:_MOST_NAMES]
