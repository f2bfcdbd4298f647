"""Totals equal an independent sum of the rows, whatever is rolled up and wherever days begin."""

from itertools import product

from databases import Reusable
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from report.databases import (
    GROUPS,
    Request,
    figures,
    insert,
    request_lists,
    roll_up,
)
from report.selections import BOUNDS, filters, matches
from report.zones import zone

from aibridge_addon.report.queries import GROUPINGS, TotalsQuery
from aibridge_addon.store.connection import transaction

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")


@settings(deadline=None, max_examples=examples(30))
@given(
    stored=request_lists(),
    by=st.lists(st.sampled_from(sorted(GROUPS)), max_size=2, unique=True),
    chosen=filters(),
    since=BOUNDS,
    until=BOUNDS,
    zone_name=st.sampled_from(ZONES),
    rolled=st.integers(0, 20),
    late=st.integers(0, 3),
    for_actor=st.sampled_from([None, None, "bob"]),
)
def test_totals_equal_the_sum_of_the_rows(
    reusable: Reusable,
    stored: list[Request],
    by: list[str],
    chosen: dict[str, tuple[str, ...]],
    since: str,
    until: str,
    zone_name: str,
    rolled: int,
    late: int,
    for_actor: str | None,
) -> None:
    query = TotalsQuery(since=since, until=until, by=tuple(by), for_actor=for_actor, **chosen)  # type: ignore[arg-type]
    with zone(zone_name):
        database = reusable.fresh()
        with database.connected() as connection:
            with transaction(connection):
                for request in stored[late:]:
                    insert(connection, request)
            roll_up(connection, rolled)
            with transaction(connection):
                for request in stored[:late]:
                    insert(connection, request)
        totals = database.reports.totals(query)
        selected = [request for request in stored if matches(request, query)]
        expected: dict[tuple[str | None, ...], list[Request]] = {}
        for request in selected:
            for names in product(*(GROUPS[name](request) for name in by)):
                expected.setdefault(names, []).append(request)
    assert totals.overall == figures(selected)
    found = {row.names: row.figures for row in totals.rows}
    assert len(found) == len(totals.rows)
    assert found == ({names: figures(group) for names, group in expected.items()} if by else {})
    assert totals.more == 0


def test_every_grouping_is_tested() -> None:
    assert set(GROUPINGS) <= set(GROUPS)
