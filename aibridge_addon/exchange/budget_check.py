"""Holds the estimated charge of each request in its budgets before it is sent upstream."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.budget_rule import BudgetRule
from aibridge_addon.access.matching_rules import MatchingRules
from aibridge_addon.access.model_rule import ModelRule, ModelRuleTable
from aibridge_addon.access.named_models import models_of
from aibridge_addon.access.requested_models import UnclearError
from aibridge_addon.budgets.batches import estimate_of_batch
from aibridge_addon.budgets.book import (
    BookUnavailableError,
    BudgetBook,
    BudgetedCall,
    BudgetRefusal,
    BudgetWarning,
    SetAside,
)
from aibridge_addon.budgets.budget import Estimate, Unit
from aibridge_addon.budgets.call import Call, Calls, PriceOf, estimate, web_searches
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.exchange.budget_refusals import refusal_of, unavailable
from aibridge_addon.facts import (
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    TokenUsage,
)
from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.raw_json import body, members, readings

_RETRY_SECONDS = 0.25
"""Longest time between two attempts of a request that waits: other processes make room too."""

_GIVE_BACK_SECONDS = 6.0
"""Longest time in which processes give back room that they have set aside, dead ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRules:
    """The settings of budgets."""

    budgets: Sequence[BudgetRule] = ()
    models: tuple[ModelRule, ...] = ()
    """A budget is for the models that are sent, so that aliases are applied first."""
    price: PriceOf


type OnBudgetWarning = Callable[[BudgetWarning], None]
"""Receives each crossed threshold, on the event loop."""


class BudgetCheck:
    """Admits requests to their budgets; lives as long as the proxy."""

    _rules: BudgetRules
    _budgets: MatchingRules[BudgetRule]
    _models: ModelRuleTable

    def __init__(
        self, find_book: Callable[[], BudgetBook | None], on_warning: OnBudgetWarning
    ) -> None:
        """Find the book by a function that may be called once there are rules."""
        self._find_book = find_book
        self._on_warning = on_warning
        self._calls = Calls()
        self._end: asyncio.Event | None = None
        """Set at the next end of a call in this process; None if nobody waits for it."""
        self._unrecorded: dict[str, BudgetedCall] = {}
        """Calls that are held, by interceptions whose records have not begun."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Requests wait for room one after the other, in their order, by budget and scope."""

    def apply(self, rules: BudgetRules) -> None:
        """Use other rules.

        Raises:
            SettingsError: there are budgets, and the recorder cannot count them.
        """
        self._rules = rules
        self._budgets = MatchingRules(rules.budgets, by_every_model=True)
        self._models = ModelRuleTable(rules.models)
        book = self._find_book()
        if book is not None:
            book.on_warning = partial(_on_loop, asyncio.get_running_loop(), self._on_warning)
        elif rules.budgets:
            raise SettingsError("[[budgets]] needs a store that counts them; see aibridge_recorder")

    @property
    def handlers(self) -> Mapping[type, Any]:
        """Handlers of the facts that improve estimates, or make room."""
        return {
            Interception: self._on_start,
            BackgroundResponse: lambda fact: self._on_start(fact.interception),
            TokenUsage: self._calls.on_usage,
            InterceptionEnded: self._on_end,
        }

    def _on_start(self, interception: Interception) -> None:
        """Leave the holds of a call to the end of its record."""
        self._unrecorded.pop(interception.id, None)

    def _on_end(self, end: InterceptionEnded) -> None:
        """Wake whoever waits: an admission after this fact follows the settlement too."""
        self._on_start(end.interception)
        if self._end is not None:
            self._end.set()
            self._end = None

    def call_of(self, asked: Asked) -> BudgetedCall | None:
        """Return the call of a recorded request, if any budget is for it."""
        interception = asked.interception
        if not self._rules.budgets or interception is None or not asked.is_recorded:
            return None
        model = self._models.applied_to(asked).sent(asked.model) if self._models else asked.model
        sent = asked if model == asked.model else replace(asked, model=model)
        rules = self._budgets.of(sent)
        scopes = tuple([(rule.budget, scope) for rule in rules for scope in rule.scopes(sent)])
        if not scopes:
            return None
        wire_format = FORMATS[interception.api]
        if not wire_format.is_held_in_budgets:
            models = _models_of_batch(asked) if wire_format.bills_later else ()
            provider = interception.provider_name
            return BudgetedCall(
                interception_id=interception.id,
                scopes=scopes,
                estimate=lambda unit: estimate_of_batch(unit, provider, models, self._rules.price),
            )
        call = self._read(asked, interception, model, wire_format)
        return BudgetedCall(
            interception_id=interception.id,
            scopes=scopes,
            estimate=_once_per_unit(partial(estimate, call, price=self._rules.price)),
        )

    def _read(
        self, asked: Asked, interception: Interception, model: str | None, wire_format: Format
    ) -> Call:
        """Read what the estimate of a call is made from, by the most that a reading allows."""
        content = asked.content() or b""
        given = members(content) or {} if asked.members is None else asked.members
        read = readings(content, given)
        if asked.completed is not None and asked.completed != given:
            given, content = asked.completed, body(asked.completed)
            read = given, *read
        limits = [limit for each in read if (limit := wire_format.output_limit(each)) is not None]
        return self._calls.read(
            interception,
            model,
            content,
            max(limits, default=None),
            wire_format.units(given),
            choices=max(map(wire_format.choices, read)),
            searches=max(map(web_searches, read)),
            spoken=wire_format.spoken_input(given),
        )

    def admit_now(self, call: BudgetedCall) -> bool:
        """Hold a call in its budgets, if they have room that the store need not be asked for."""
        is_held = self._book().admit_now(call)
        if is_held:
            self._unrecorded[call.interception_id] = call
        return is_held

    async def admit(
        self, call: BudgetedCall, may_wait: Callable[[], bool] = lambda: True
    ) -> Refusal | None:
        """Hold a call in its budgets; while it may, it waits for room that calls in flight hold."""
        if self.admit_now(call):
            return None
        if not any(budget.refuses for budget, _ in call.scopes):
            self.hold(call)
            return None
        self._unrecorded[call.interception_id] = call  # it may be cancelled meanwhile
        try:
            found = await self._book().admit(call)
            if found and found.verdict == "wait" and may_wait():
                found = await self._wait(self._book(), call, found, may_wait)
        except BookUnavailableError:
            self._unrecorded.pop(call.interception_id, None)
            return unavailable()
        if found is None:
            return None
        self._unrecorded.pop(call.interception_id, None)
        return refusal_of(found)

    async def find_spent(self, call: BudgetedCall) -> Refusal | None:
        """Return the refusal of a call if waiting for others would not help; hold nothing."""
        if not any(budget.refuses for budget, _ in call.scopes):
            return None
        try:
            found = None if self.admit_now(call) else await self._book().admit(call)
        except BookUnavailableError:
            return unavailable()
        if found is None:
            await self.release(call)
        return refusal_of(found) if found and found.verdict != "wait" else None

    def hold(self, call: BudgetedCall) -> None:
        """Hold a call that cannot be refused any more."""
        self._unrecorded[call.interception_id] = call
        pending = asyncio.ensure_future(self._book().hold(replace(call, must_hold=True)))
        pending.add_done_callback(_ignore_failure)

    def withdraw(self, interception_id: str) -> None:
        """Remove the holds of a call whose record does not begin after all."""
        if call := self._unrecorded.pop(interception_id, None):
            pending = asyncio.ensure_future(self._book().release(call))
            pending.add_done_callback(_ignore_failure)

    async def release(self, call: BudgetedCall) -> None:
        """Remove the holds of a call that is not sent after all."""
        self._unrecorded.pop(call.interception_id, None)
        try:
            await self._book().release(call)
        except BookUnavailableError:  # its process's lease ends at the latest with the process
            return

    def set_aside(self) -> Sequence[SetAside]:
        """Return the room that this process has set aside, for the metrics."""
        return self._book().set_aside() if self._rules.budgets else ()

    def _book(self) -> BudgetBook:
        book = self._find_book()
        assert book, "`apply` refuses budgets without a book"
        return book

    async def _wait(
        self,
        book: BudgetBook,
        call: BudgetedCall,
        refusal: BudgetRefusal,
        may_wait: Callable[[], bool],
    ) -> BudgetRefusal | None:
        key = f"{refusal.budget.name}/{refusal.scope}"
        turn = self._turns.setdefault(key, asyncio.Lock())
        seconds = refusal.budget.wait_s
        if refusal.is_set_aside:
            seconds = max(seconds, _GIVE_BACK_SECONDS)
        until = time.monotonic() + seconds
        try:
            await asyncio.wait_for(turn.acquire(), seconds)
        except TimeoutError:
            return refusal
        try:
            # Not within a timeout: an admission that is cancelled could hold its room for ever.
            found: BudgetRefusal | None = refusal
            while may_wait() and (found := await book.admit(call)) and found.verdict == "wait":
                if time.monotonic() >= until:
                    break
                self._end = self._end or asyncio.Event()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._end.wait(), _RETRY_SECONDS)
            return found
        finally:
            turn.release()


def _models_of_batch(asked: Asked) -> Collection[str] | None:
    """Return the models that a batch names; None if it can be read in two ways."""
    try:
        return tuple(models_of(asked))
    except UnclearError:
        return None


def _once_per_unit(
    estimate_in: Callable[[Unit], Estimate | None],
) -> Callable[[Unit], Estimate | None]:
    """Return a function that estimates once in each unit, whatever the number of budgets."""
    found: dict[Unit, Estimate | None] = {}

    def of_unit(unit: Unit) -> Estimate | None:
        if unit not in found:
            found[unit] = estimate_in(unit)
        return found[unit]

    return of_unit


def _on_loop(
    loop: asyncio.AbstractEventLoop,
    report: Callable[[BudgetWarning], None],
    warning: BudgetWarning,
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(report, warning)


def _ignore_failure(pending: asyncio.Future[Any]) -> None:
    if not pending.cancelled():
        pending.exception()
