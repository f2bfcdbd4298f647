"""Limits that all processes count together: what a request takes, changes and gives back."""

import asyncio
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from access.policies.test_rate_limits import asked_by, ended, usage

from aibridge_addon.access.limits.book import Lack, LimitBook, LimitChange
from aibridge_addon.access.limits.rules import Limit
from aibridge_addon.access.limits.share import Share
from aibridge_addon.access.selection import Selection
from aibridge_addon.budgets.book import BookUnavailableError
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.settings import default_settings
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres import limit_book
from aibridge_addon.store.postgres.limit_book import PostgresLimitBook

with warnings.catch_warnings():  # of libraries that mitmproxy's addons import
    warnings.simplefilter("ignore", DeprecationWarning)
    from aibridge_addon.exchange.policy_set import PolicySet
    from aibridge_addon.observe.metrics import Metrics


class Book(LimitBook):
    """A book in memory; `lack` is its answer."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[str, str, str]] = Counter()
        self.lack: Lack | None = None
        self.available = True
        self.answers = asyncio.Event()
        self.answers.set()

    @property
    def is_available(self) -> bool:
        return self.available

    async def take(self, request_id: str, changes: Sequence[LimitChange]) -> Lack | None:
        await self.answers.wait()
        if not self.available:
            raise BookUnavailableError
        if self.lack is None:
            self.change(request_id, changes)
        return self.lack

    def change(self, request_id: str, changes: Sequence[LimitChange]) -> None:
        for change in changes:
            self.taken[change.limit, change.scope, change.bound] += round(change.amount)

    def close(self) -> None:
        return


def limit(name: str, **bounds: Any) -> Limit:
    return Limit(name=name, selection=Selection(), per="total", **bounds)


TOGETHER = limit(
    "together",
    requests_per_minute=2,
    output_tokens_per_minute=9_000,
    open_requests=2,
    is_shared=True,
)
ALONE = limit("alone", open_requests=1)


def policies(book: LimitBook | None, *limits: Limit) -> PolicySet:
    """Return policies with limits."""
    made = PolicySet(
        admission=cast(Any, SimpleNamespace(check=lambda admission: None)),
        can_record=lambda: True,
        find_book=lambda: None,
        open_limit_book=lambda: book,
        on_budget_warning=lambda warning: None,
        find_key_pool=lambda *_: None,
        on_trip=lambda *_: None,
        metrics=Metrics(),
    )
    made.apply(default_settings(limits=limits), own_hosts=())
    return made


def handle(subject: PolicySet, fact: object) -> None:
    for handlers in subject.handlers:
        if handler := handlers.get(type(fact)):
            handler(fact)


def taken(book: Book) -> dict[str, int]:
    """Return what is taken, by bound."""
    return {bound: number for (_, _, bound), number in book.taken.items() if number}


async def test_request_takes_its_estimate_and_leaves_what_it_used() -> None:
    book = Book()
    subject = policies(book, TOGETHER)
    one = asked_by("alice")
    assert await subject.decide(one) is None
    assert taken(book).keys() == {"requests", "output_tokens", "open_requests"}
    assert await subject.decide(one) is None, "the inner loop's further requests count once"
    assert taken(book)["requests"] == 1
    handle(subject, usage(one, input_tokens=5, output_tokens=70))
    handle(subject, ended(one))
    handle(subject, ended(one))
    assert taken(book) == {"requests": 1, "output_tokens": 70}


async def test_lack_of_room_is_a_refusal_that_names_the_limit_without_parts() -> None:
    book = Book()
    subject = policies(book, TOGETHER)
    subject._shared.local.counters.share = Share(processes=3)
    book.lack = Lack(index=1, seconds=7.0)
    refusal = await subject.decide(asked_by("alice"))
    assert refusal
    assert refusal.message == "aibridge: limit 'together' allows 2 requests per minute."
    assert refusal.headers["retry-after"] == "7"


async def test_request_that_another_limit_refuses_consumes_nothing() -> None:
    book = Book()
    subject = policies(book, TOGETHER, ALONE)
    book.answers.clear()
    two = [asyncio.ensure_future(subject.decide(asked_by("alice"))) for _ in range(2)]
    await asyncio.sleep(0)
    book.answers.set()
    refusals = [refusal for refusal in await asyncio.gather(*two) if refusal]
    assert [refusal.reason for refusal in refusals] == ["rate_limit_exceeded"]
    assert taken(book)["requests"] == 1
    assert taken(book)["open_requests"] == 1


async def test_limit_that_other_limits_refuse_is_not_asked() -> None:
    book = Book()
    subject = policies(book, TOGETHER, ALONE)
    assert await subject.decide(asked_by("alice")) is None
    before = dict(book.taken)
    assert await subject.decide(asked_by("alice"))
    assert book.taken == before


async def test_response_that_the_provider_begins_is_counted_without_a_decision() -> None:
    book = Book()
    subject = policies(book, TOGETHER)
    one = asked_by("alice")
    subject.count(one)
    assert taken(book)["open_requests"] == 1
    handle(subject, ended(one))
    assert "open_requests" not in taken(book)


async def test_call_that_is_not_read_takes_a_request_and_no_slot() -> None:
    book = Book()
    subject = policies(book, TOGETHER)
    unread = replace(asked_by("alice"), interception=None, is_recorded=False)
    assert await subject.decide(unread) is None
    assert taken(book) == {"requests": 1}
    subject._shared.give_back(unread)
    assert taken(book) == {}


async def test_share_is_enforced_while_the_store_is_away() -> None:
    book = Book()
    book.available = False
    subject = policies(book, TOGETHER)
    subject._shared.local.counters.share = Share(processes=2)
    state = {"processes": 1, "divided": 0, "shared": 1, "together": False}
    assert subject.limits_state() == state
    first = asked_by("alice")
    assert await subject.decide(first) is None
    refusal = await subject.decide(asked_by("alice"))
    assert refusal
    assert "1 in this one of 2 processes" in refusal.message
    book.available = True
    handle(subject, ended(first))
    assert taken(book) == {}, "the request was never counted there"


def test_shared_limit_needs_a_store_that_counts_it() -> None:
    with pytest.raises(SettingsError, match="'together': shared = true needs a PostgreSQL"):
        policies(None, TOGETHER)


class Counts:
    """Counts on a thread; `work` is what a decision does there."""

    def __init__(self) -> None:
        self.work: Callable[[], None] = lambda: None
        self.taken = 0

    def take(self, request_id: str, changes: Sequence[LimitChange]) -> Lack | None:
        self.work()
        self.taken += 1
        return None

    def change(self, request_id: str, changes: Sequence[LimitChange]) -> None:
        self.taken += round(changes[0].amount)

    def renew(self) -> None:
        return

    def close(self) -> None:
        return


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


CHANGE = LimitChange(limit="l", scope="s", bound="requests", most=1, amount=1)


async def test_decision_that_nobody_waits_for_any_more_is_undone() -> None:
    counts, may_go_on = Counts(), threading.Event()
    book = PostgresLimitBook(cast(Any, counts))
    counts.work = lambda: cast(None, may_go_on.wait(30))
    waiting = asyncio.ensure_future(book.take("1", [CHANGE]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    may_go_on.set()
    counts.work = lambda: None
    assert await book.take("2", [CHANGE]) is None
    await until(lambda: counts.taken == 1)
    book.close()


async def test_store_that_fails_or_is_silent_is_away_until_it_responds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limit_book, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(limit_book, "_PROBE_SECONDS", 0.01)
    monkeypatch.setattr(limit_book, "_RENEWAL_SECONDS", 0.01)
    counts, may_go_on = Counts(), threading.Event()
    book = PostgresLimitBook(cast(Any, counts))

    def fail() -> None:
        raise StoreError("it is away")

    for work in (fail, lambda: cast(None, may_go_on.wait(30))):
        counts.work = work
        may_go_on.clear()
        with pytest.raises(BookUnavailableError):
            await book.take("1", [CHANGE])
        assert not book.is_available
        may_go_on.set()
        await until(lambda: book.is_available)
    book.close()
