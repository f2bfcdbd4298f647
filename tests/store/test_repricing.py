"""Renewal of recorded prices."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import Database
from store.doubles import ended, record, started, tokens

from aibridge_addon.facts import Price, TokenUsage
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.store import Store
from aibridge_addon.store.connection import transaction
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.repriced import Repriced
from aibridge_addon.store.sql import repricing
from aibridge_addon.store.sqlite.store import SQLiteStore

ONE, TWO, THREE = (
    tokens(
        started(model="asked"),
        model=model,
        extra={"cost": cost} if cost else {},
        created_at=f"2026-11-{day}T00:00:00.000000+00:00",
    )
    for model, cost, day in (("one", None, 10), (None, 0.5, 11), ("three", None, 12))
)
HIDDEN = tokens(ONE.interception, model=None, call="advisor", created_at=THREE.created_at)


def store_usages(store: Store, *usages: TokenUsage) -> None:
    recorder = store.make_recorder(Retention(), lambda name, count: None, Preparation())
    recorder.start()
    for usage in usages:
        record(recorder, usage, ended(usage.interception))
    recorder.close()


@pytest.fixture
def store(database: Database) -> Store:
    store_usages(database.store, ONE, TWO, THREE)
    return database.store


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "_STEP", 2)


def by_output(call: BilledCall) -> Price:
    return Price(cost_nano_usd=call.output_tokens * 100, price_source=f"test/{call.model}")


def prices(database: Database) -> list[tuple[Any, Any]]:
    found = database.rows("token_usages", "created_at")
    return [(row["cost_nano_usd"], row["price_source"]) for row in found]


def reprice(store: Store, since: str = "", **options: Any) -> list[Repriced]:
    return list(store.reprice(since, by_output, **{"write": True} | options))


def test_all_calls_get_a_new_price(database: Database, store: Store) -> None:
    found = reprice(store)

    assert [one.before for one in found] == [Price()] * 3
    assert [one.after.cost_nano_usd for one in found] == [2000] * 3
    # A response that names no model was served by the requested model.
    assert prices(database) == [(2000, "test/one"), (2000, "test/asked"), (2000, "test/three")]


def test_second_run_changes_nothing(database: Database, store: Store) -> None:
    reprice(store)
    assert all(one.before == one.after for one in reprice(store))


def test_earlier_calls_keep_their_prices(database: Database, store: Store) -> None:
    assert len(reprice(store, TWO.created_at)) == 2
    assert prices(database)[0] == (None, None)


def test_call_without_a_price_loses_its_old_price(database: Database, store: Store) -> None:
    reprice(store)
    unpriced = Price(unpriced_reason="unknown")
    list(store.reprice("", lambda call: unpriced, write=True))

    [row, *_] = database.rows("token_usages", "created_at")
    assert (row["cost_nano_usd"], row["price_source"]) == (None, None)
    assert row["unpriced_reason"] == "unknown"
    totals = database.reports.totals(TotalsQuery(by=("model",)))
    assert totals.overall.unpriced_reasons == ("unknown",)
    assert {row.figures.unpriced_reasons for row in totals.rows} == {("unknown",)}
    others = database.reports.totals(TotalsQuery(since="2099-01-01T00:00:00+00:00"))
    assert others.overall.unpriced_reasons == ()
    [request, *_] = database.reports.requests(RequestQuery()).rows
    assert request.figures.unpriced_reasons == ("unknown",)


def test_dry_run_changes_nothing(database: Database, store: Store) -> None:
    found = reprice(store, write=False)

    assert [one.after.cost_nano_usd for one in found] == [2000] * 3
    assert prices(database) == [(None, None)] * 3


def test_call_that_the_provider_made_is_not_priced_as_the_requested_model(
    database: Database,
) -> None:
    store_usages(database.store, HIDDEN)
    assert [one.call.model for one in reprice(database.store)] == [None]


def test_usage_that_the_proxy_completes_meanwhile_keeps_the_price_of_the_proxy(
    database: Database,
    store: Store,
) -> None:

    def slow(call: BilledCall) -> Price:
        if call.model == "one":
            store_usages(store, replace(ONE, output_tokens=9999))
        return by_output(call)

    list(store.reprice("", slow, write=True))

    assert prices(database) == [(None, None), (2000, "test/asked"), (2000, "test/three")]


def test_proxy_can_write_while_prices_are_calculated(database: Database, store: Store) -> None:
    def write_too(call: BilledCall) -> Price:
        with database.connected() as connection, transaction(connection):
            connection.execute("DELETE FROM aibridge_hidden_turns")
        return by_output(call)

    assert len(list(store.reprice("", write_too, write=True))) == 3


def test_database_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite3"
    with pytest.raises(StoreError, match="nothing was recorded yet"):
        reprice(SQLiteStore(path))
    assert not path.exists()


def test_models_are_listed_with_their_prices(database: Database, store: Store) -> None:
    reprice(store, TWO.created_at)
    found: Iterator[Any] = iter(store.reports().priced_models(""))

    rows_ = {(row.model, row.source, row.calls, row.cost_nano_usd) for row in found}
    assert rows_ == {
        ("one", None, 1, None),
        ("asked", "test/asked", 1, 2000),
        ("three", "test/three", 1, 2000),
    }
