"""A request that is refused after its budgets held it leaves no hold, and no slot."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from access.policies.test_rate_limits import asked_by

from aibridge_addon.access.budget_rule import BudgetRule
from aibridge_addon.access.limits.rules import Limit
from aibridge_addon.access.selection import Selection
from aibridge_addon.budgets.book import BudgetBook, BudgetedCall, BudgetRefusal
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.config.settings import default_settings
from aibridge_addon.prices.pricing import Unpriced
from aibridge_addon.providers.credentials import Credential

with warnings.catch_warnings():  # of libraries that mitmproxy's addons import
    warnings.simplefilter("ignore", DeprecationWarning)
    from aibridge_addon.exchange.budget_check import BudgetCheck, BudgetRules
    from aibridge_addon.exchange.policy_set import PolicySet
    from aibridge_addon.observe.metrics import Metrics

BUDGET = Budget(
    name="day",
    per="total",
    unit="tokens",
    limit=10**9,
    window=WindowRule(name="day", zone=ZoneInfo("UTC")),
    wait_s=1e-3,
)


def _nothing() -> None:
    """Do nothing."""


class Book(BudgetBook):
    """A book in memory; `verdict` is its answer, and `meanwhile` happens during an admission."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.verdict: Any = None
        self.is_set_aside = False
        self.meanwhile: Callable[[], None] = _nothing
        self.on_warning = lambda warning: None

    async def admit(self, call: BudgetedCall) -> BudgetRefusal | None:
        self.meanwhile()
        if self.verdict:
            refusal = BudgetRefusal(verdict=self.verdict, budget=BUDGET, scope="total")
            return replace(refusal, is_set_aside=self.is_set_aside)
        self.held.add(call.id)
        return None

    def hold(self, call: BudgetedCall) -> Awaitable[None]:
        self.held.add(call.id)
        return asyncio.sleep(0)

    async def release(self, call: BudgetedCall) -> None:
        self.held.remove(call.id)


def policies(book: Book, **limit: Any) -> PolicySet:
    """Return policies with a budget and a limit of one open request."""
    admission = SimpleNamespace(check=lambda admission: None)
    made = PolicySet(
        admission=cast(Any, admission),
        can_record=lambda: True,
        find_book=lambda: book,
        open_limit_book=lambda: None,
        on_budget_warning=lambda warning: None,
        find_key_pool=lambda *_: None,
        on_trip=lambda *_: None,
        metrics=Metrics(),
    )
    one = Limit(name="one", selection=Selection(), per="total", open_requests=1, **limit)
    rule = BudgetRule(budget=BUDGET, selection=Selection())
    made.apply(default_settings(limits=(one,), budgets=(rule,)), own_hosts=())
    return made


CENTRAL = Credential(kind="centralized", secret="s" * 30)


def asked() -> Any:
    """Return a request with the central key."""
    return replace(asked_by("alice"), credential=CENTRAL)


async def test_request_that_a_limit_refuses_after_its_budgets_leaves_no_hold() -> None:
    book = Book()
    subject = policies(book)

    def take_the_slot() -> None:
        book.meanwhile = _nothing
        subject._rate_limits.admit(asked())

    book.meanwhile = take_the_slot
    refusal = await subject.decide(asked())
    assert refusal
    assert refusal.reason == "rate_limit_exceeded"
    assert book.held == set()


BODIES = (
    b'{"max_tokens": 500}',
    b'{"max_tokens": 500, "n": 8}',
    b'{"max_tokens": 60000, "max_tokens": 50}',
    b'{"max_tokens": 50, "MAX_Tokens": 60000}',
    b'{"max_tokens":60000,"max_tokens":50,"temperature":NaN}',
    b'{"max_tokens":500,"n":8,"n":1}',
)


async def test_budget_holds_the_largest_output_that_a_body_may_be_read_to_ask_for() -> None:
    check = BudgetCheck(Book, lambda warning: None)
    rule = BudgetRule(budget=BUDGET, selection=Selection())
    check.apply(BudgetRules(budgets=(rule,), price=lambda call: Unpriced(reason="unknown_model")))
    held = []
    for body in BODIES:
        request = replace(asked_by("alice", body=body, api="openai_chat"), credential=CENTRAL)
        call = check.call_of(request)
        assert call
        estimate = call.estimate("tokens")
        assert estimate
        held.append(estimate.worst - estimate.input)
    assert held == [500, 4000, 60_000, 60_000, 60_000, 4000]


async def test_request_that_waits_in_vain_for_a_budget_leaves_neither_hold_nor_slot() -> None:
    for limit in ({}, {"queue": 5}):
        book = Book()
        subject = policies(book, **limit)
        book.verdict = "wait"
        refusal = await subject.decide(asked())
        assert refusal
        assert (refusal.status, refusal.reason) == (429, "budget_in_use")
        assert book.held == set()
        book.verdict = None
        assert await subject.decide(asked()) is None, "the slot is free"
        assert len(book.held) == 1


async def test_response_that_the_provider_begins_counts_in_limits_and_budgets() -> None:
    book = Book()
    subject = policies(book)
    subject.count(asked())
    assert len(book.held) == 1
    refusal = await subject.decide(asked())
    assert refusal
    assert refusal.reason == "rate_limit_exceeded"


@pytest.mark.parametrize("verdict", ["spent", "wait", None])
async def test_look_for_a_spent_budget_holds_nothing_and_ignores_calls_in_flight(
    verdict: str | None,
) -> None:
    book = Book()
    subject = policies(book)
    book.verdict = verdict
    refusal = await subject.find_spent_budget(asked())
    assert (refusal and refusal.reason) == ("budget_exceeded" if verdict == "spent" else None)
    assert book.held == set()


@pytest.mark.parametrize("limit", [{}, {"queue": 5}])
@pytest.mark.parametrize("reason", ["has left", "responses stand still"])
async def test_request_that_must_not_wait_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, reason: str, limit: dict[str, int]
) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("it waits")

    has_left = reason == "has left"
    book = Book()
    subject = policies(book, **limit)
    now = replace(asked(), has_left=lambda: has_left, can_wait=lambda: has_left)
    book.verdict = "wait"
    monkeypatch.setattr(asyncio, "wait_for", never)
    assert (refusal := await subject.decide(now))
    assert refusal.reason == "budget_in_use"
    book.verdict = None
    subject.count(asked())
    assert (refusal := await subject.decide(now))
    assert refusal.reason == "rate_limit_exceeded"


async def test_request_waits_for_room_that_other_processes_give_back_in_a_moment() -> None:
    book = Book()
    subject = policies(book)
    book.verdict, book.is_set_aside = "wait", True
    tries = iter((None, None, "give back"))

    def try_again() -> None:
        if next(tries):
            book.verdict = None

    book.meanwhile = try_again
    assert await subject.decide(asked()) is None
    assert len(book.held) == 1
