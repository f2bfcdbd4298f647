"""Queries as values: the requests to report on, and how to group them."""

from dataclasses import dataclass, fields

GROUPINGS = (
    *("hour", "day", "week", "month"),
    *("session", "actor", "team", "client", "model", "provider", "tool", "kind", "token"),
)
"""Names to group by. `team` is the member of that name of the actors' metadata; any other member
is `metadata.<name>`."""
TIME_GROUPINGS = frozenset({"hour", "day", "week", "month"})
METADATA_PREFIX = "metadata."
MAX_GROUPINGS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestQuery:
    """Selects requests. Each filter is a tuple of accepted values; an empty tuple accepts all."""

    since: str = ""
    """Only requests that started at or after this time (UTC, ISO 8601); empty: all."""
    until: str = ""
    """Only requests that started before this time; empty: all."""
    actors: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    """Members of the metadata, by name and value; all of them must match."""
    models: tuple[str, ...] = ()
    """Models as the clients requested them."""
    clients: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    """Names of provider instances."""
    sessions: tuple[str, ...] = ()
    """Ids of the clients' sessions, or their beginnings."""
    kinds: tuple[str, ...] = ()
    """Request kinds, such as `turn` or `title`."""
    statuses: tuple[str, ...] = ()
    """Values of `facts.Status`; `open`: not ended yet."""
    tokens: tuple[str, ...] = ()
    """Ids of access tokens."""
    tools: tuple[str, ...] = ()
    """Only requests whose response called one of these tools."""
    text: str = ""
    """Only requests with this text in a typed prompt; empty: all."""
    run: str | None = None
    """Only requests of the program that `aibridge run` marked with this value; None: all."""
    for_actor: str | None = None
    """The only actor whose requests may be seen, whatever the filters say; None: all actors."""

    limit: int | None = 50
    """Most rows to return; None: all."""
    cursor: str = ""
    """`Page.next_cursor` of the page before; empty: the first page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsQuery(RequestQuery):
    """Selects requests and groups them."""

    by: tuple[str, ...] = ("model",)
    """At most `MAX_GROUPINGS` of `GROUPINGS`; empty: only the overall figures."""
    limit: int | None = None


def grouped(query: RequestQuery, by: tuple[str, ...], limit: int | None = None) -> TotalsQuery:
    """Return the query for totals of the same requests."""
    values = {field.name: getattr(query, field.name) for field in fields(RequestQuery)}
    return TotalsQuery(**values | {"by": by, "limit": limit})
