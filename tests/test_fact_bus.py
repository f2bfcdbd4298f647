"""Tests of the fact bus: delivery by type, in order, and independent of failing handlers."""

import pytest
from store.doubles import ended, started

from aibridge_addon.fact_bus import FactBus
from aibridge_addon.facts import Interception, InterceptionEnded


def test_fact_is_delivered_to_the_handlers_of_its_type_in_order() -> None:
    bus = FactBus()
    delivered: list[tuple[str, object]] = []
    bus.subscribe({Interception: lambda fact: delivered.append(("first", fact))})
    bus.subscribe({Interception: lambda fact: delivered.append(("second", fact))})
    bus.subscribe({InterceptionEnded: lambda fact: delivered.append(("ended", fact))})
    start = started()

    bus.publish(start)

    assert delivered == [("first", start), ("second", start)]


def test_handler_that_raises_is_logged_and_the_next_still_receives_the_fact(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(fact: InterceptionEnded) -> None:
        raise RuntimeError("a bug")

    bus = FactBus()
    delivered: list[InterceptionEnded] = []
    bus.subscribe({InterceptionEnded: fail})
    bus.subscribe({InterceptionEnded: delivered.append})
    end = ended(started())

    bus.publish(end)

    assert delivered == [end]
    assert f"a fact of interception {end.interception.id} is lost" in caplog.text
