"""Decisions about requests, and the charges of their ends."""

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aibridge_addon.budgets.admission import decide
from aibridge_addon.budgets.budget import Budget, Estimate, Standing
from aibridge_addon.budgets.charges import Charge, Hold, Outcome, charge_of, crossed
from aibridge_addon.budgets.windows import WindowRule

DAY = WindowRule(name="day", zone=ZoneInfo("UTC"))


def budget(**values: Any) -> Budget:
    given: dict[str, Any] = {"name": "b", "per": "actor", "unit": "usd", "limit": 100}
    return Budget(**given | {"window": DAY} | values)


def verdict(spent: int, held: int, worst: int, likely: int, **values: Any) -> tuple[str, int]:
    decision = decide(
        budget(**values),
        Standing(spent=spent, held=held),
        Estimate(worst=worst, likely=likely, input=0),
    )
    return decision.verdict, decision.hold


def test_request_with_room_holds_its_worst_case_or_what_is_likely() -> None:
    assert verdict(0, 0, worst=60, likely=5) == ("hold", 60)
    assert verdict(0, 0, worst=60, likely=5, hold="likely") == ("hold", 5)


def test_spent_budget_refuses_definitively_even_while_calls_are_in_flight() -> None:
    assert verdict(100, 0, worst=1, likely=1) == ("spent", 0)
    assert verdict(120, 50, worst=1, likely=1) == ("spent", 0)


def test_request_larger_than_the_whole_budget_is_refused() -> None:
    assert verdict(0, 0, worst=500, likely=101) == ("too_large", 0)


def test_call_of_a_dead_process_whose_usage_was_not_priced_yet_is_estimated() -> None:
    outcome = Outcome(
        status="interrupted", http_status=None, usages=1, unpriced=1, cost_nano_usd=0, tokens=9
    )
    known = Hold(amount=10, likely=5, input=2)
    assert charge_of("usd", known, outcome) == Charge(amount=5, how="estimated")
    unknown = Hold(amount=0, likely=0, input=0)
    assert charge_of("usd", unknown, outcome) == Charge(amount=0, how="unpriced")


def test_last_request_of_a_window_may_exceed_the_limit_by_its_output() -> None:
    assert verdict(40, 0, worst=90, likely=50) == ("hold", 60)
    assert verdict(60, 0, worst=90, likely=50) == ("spent", 0)


def test_strict_budget_holds_the_worst_case_or_refuses() -> None:
    assert verdict(40, 0, worst=90, likely=50, is_strict=True) == ("spent", 0)
    assert verdict(0, 50, worst=90, likely=50, is_strict=True) == ("wait", 0)
    assert verdict(0, 0, worst=101, likely=50, is_strict=True) == ("too_large", 0)


def test_request_waits_for_room_that_calls_in_flight_hold() -> None:
    assert verdict(20, 60, worst=50, likely=10) == ("wait", 0)
    assert verdict(95, 5, worst=50, likely=10) == ("spent", 0)


def test_warning_budget_holds_and_never_refuses() -> None:
    assert verdict(500, 90, worst=50, likely=10, action="warn") == ("hold", 50)


def test_model_without_a_price_is_refused_unless_the_budget_allows_it() -> None:
    standing = Standing(spent=0, held=0)
    assert decide(budget(), standing, None).verdict == "unpriced"
    for values in ({"unpriced": "allow"}, {"action": "warn"}):
        assert decide(budget(**values), standing, None).verdict == "hold"


HOLD = Hold(amount=90, likely=30, input=20)


def outcome(status: str = "completed", http_status: int | None = 200, **values: Any) -> Outcome:
    given: dict[str, Any] = {"usages": 0, "unpriced": 0, "cost_nano_usd": 0, "tokens": 0}
    return Outcome(status=status, http_status=http_status, **given | values)


@pytest.mark.parametrize(
    ("ended", "charge"),
    [
        (outcome(usages=2, cost_nano_usd=7, tokens=70), Charge(amount=7, how="told")),
        (outcome("failed", 400), Charge(amount=0, how="none")),
        (outcome("failed", 529), Charge(amount=0, how="none")),
        (outcome("failed", None), Charge(amount=0, how="none")),
        (outcome("refused", 429), Charge(amount=0, how="none")),
        (outcome("cancelled", 200, usages=1, cost_nano_usd=3), Charge(amount=20, how="estimated")),
        (outcome("cancelled", 200, usages=1, cost_nano_usd=50), Charge(amount=50, how="estimated")),
        (outcome("cancelled", None), Charge(amount=20, how="estimated")),
        (outcome("interrupted", None), Charge(amount=20, how="estimated")),
        (outcome("completed", 200), Charge(amount=30, how="estimated")),
        (
            outcome(usages=2, unpriced=1, cost_nano_usd=7),
            Charge(amount=30, how="unpriced"),
        ),
    ],
    ids=str,
)
def test_charge_follows_from_how_the_interception_ended(ended: Outcome, charge: Charge) -> None:
    assert charge_of("usd", HOLD, ended) == charge


@pytest.mark.parametrize("status", ["completed", "cancelled"])
@pytest.mark.parametrize(("tokens", "charged"), [(10, 30), (70, 70)])
def test_budget_of_tokens_is_charged_the_likely_tokens_if_some_are_unknown(
    status: str, tokens: int, charged: int
) -> None:
    ended = outcome(status, usages=1, tokens=tokens, incomplete=1)
    assert charge_of("tokens", HOLD, ended) == Charge(amount=charged, how="estimated")


def test_budget_of_tokens_is_charged_the_estimated_input_of_calls_in_another_unit() -> None:
    ended = outcome(usages=1, other_units=1)
    assert charge_of("tokens", HOLD, ended) == Charge(amount=20, how="estimated")
    assert charge_of("usd", HOLD, replace(ended, cost_nano_usd=7)) == Charge(amount=7, how="told")


def test_budget_of_tokens_is_charged_tokens_with_or_without_a_price() -> None:
    ended = outcome(usages=1, unpriced=1, tokens=70)
    assert charge_of("tokens", HOLD, ended) == Charge(amount=70, how="told")


def test_threshold_is_crossed_once_and_exactly_at_its_percentage() -> None:
    assert crossed((80, 100), 100, 70, 79) == ()
    assert crossed((80, 100), 100, 79, 80) == (80,)
    assert crossed((80, 100), 100, 80, 120) == (100,)
    assert crossed((80, 100), 100, 0, 100) == (80, 100)
