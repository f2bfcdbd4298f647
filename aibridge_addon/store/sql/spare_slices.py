"""The slices that a process owns while its store is away: budgets admit from them if they may.

They are as the last commit left them. What is held here is a statement of the spool, so that it is
charged once the store is back, also after a restart. Another process that reaches the store may
take a slice away meanwhile: the limit can then be exceeded by that slice.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from aibridge_addon.budgets.book import BudgetedCall, SetAside
from aibridge_addon.budgets.budget import Budget, Estimate
from aibridge_addon.budgets.charges import Hold, Outcome, charge_of
from aibridge_addon.budgets.windows import Window
from aibridge_addon.store.columns import BUDGET_HOLD
from aibridge_addon.store.sql.holds import hold_row
from aibridge_addon.store.sql.slice import Slice
from aibridge_addon.store.statements import Statement


@dataclass(frozen=True, slots=True)
class _Taken:
    """The hold of a call in a slice."""

    call_id: str
    own: Slice
    hold: Hold


@dataclass(frozen=True, slots=True)
class _Running:
    """An interception that was admitted here."""

    taken: list[_Taken] = field(default_factory=list)
    usages: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The values of its usages by their ids."""


class SpareSlices:
    """The slices of a process, without the store."""

    def __init__(self, owner: str, clock: Callable[[], datetime]) -> None:
        self._owner = owner
        self._clock = clock
        self._slices: dict[tuple[str, str], Slice] = {}
        self._running: dict[str, _Running] = {}

    def keep(self, slices: Iterable[Slice]) -> None:
        """Keep slices for the time in which the store is away."""
        for own in slices:
            self._slices[own.counter.budget, own.counter.scope] = own

    def set_aside(self, budgets: Mapping[str, Budget]) -> list[SetAside]:
        """Return the room of those budgets, by name, that admit without the store."""
        return [
            SetAside(
                budget=name,
                unit=own.counter.unit,
                held=own.held,
                free=max(0, own.free),
                is_spare=True,
            )
            for (name, _), own in tuple(self._slices.items())
            if name in budgets and budgets[name].on_store_failure == "slice"
        ]

    def clear(self) -> None:
        """Forget all slices: the store is back."""
        self._slices.clear()
        self._running.clear()

    def admit(self, call: BudgetedCall) -> list[Statement] | None:
        """Hold a call in the slices; return the statements, or None without a slice with room."""
        moment = self._clock()
        holds: list[Statement] = []
        taken: list[_Taken] = []
        for budget, scope in call.scopes:
            own = self._find(budget, scope, window := budget.window.at(moment))
            estimate = call.estimate(budget.unit)
            amount = own.hold_for(budget, estimate, refill_at=0) if own else None
            must_count = budget.refuses and not call.must_hold
            if must_count and (amount is None or budget.on_store_failure == "refuse"):
                return None
            if own and amount is not None:  # else a budget that does not refuse the call misses it
                counter = replace(own.counter, bucket=window.bucket)
                row = hold_row(call, counter, estimate, amount, owner=self._owner, moment=moment)
                holds.append(Statement("budget_hold", dict(zip(BUDGET_HOLD, row, strict=True))))
                taken.append(_Taken(call.id, own, _hold(amount, estimate)))
        for each in taken:
            each.own.held += each.hold.amount
        self._running.setdefault(call.interception_id, _Running()).taken.extend(taken)
        return holds

    def release(self, call: BudgetedCall) -> list[Statement]:
        """Free what a call takes that is not sent; return the statement that removes its holds."""
        if running := self._running.get(call.interception_id):
            for each in tuple(running.taken):
                if each.call_id == call.id:
                    each.own.held -= each.hold.amount
                    running.taken.remove(each)
        return [Statement("budget_release", {"id": call.id})]

    def settle(self, statements: Iterable[Statement]) -> None:
        """Take the charges of interceptions that end with spooled statements out of the slices."""
        if not self._running:
            return
        for kind, values in statements:
            if kind in ("token_usage", "token_usage_so_far"):
                if running := self._running.get(str(values["interception_id"])):
                    running.usages[str(values["id"])] = values
            elif kind == "interception_ended" and (
                running := self._running.pop(str(values["id"]), None)
            ):
                _settle(running, values)

    def _find(self, budget: Budget, scope: str, window: Window) -> Slice | None:
        """Return the slice of a window; if it rolls, also the slice of an earlier step."""
        own = self._slices.get((budget.name, scope))
        if own is None or (own.counter.unit, own.limit) != (budget.unit, budget.limit):
            return None
        is_in_window = window.first_bucket <= own.counter.bucket <= window.bucket
        return own if is_in_window else None


def _hold(amount: int, estimate: Estimate | None) -> Hold:
    likely, input_ = (estimate.likely, estimate.input) if estimate else (0, 0)
    return Hold(amount=amount, likely=likely, input=input_)


def _settle(running: _Running, end: Mapping[str, Any]) -> None:
    outcome = _outcome(end, running.usages.values())
    for each in running.taken:
        charge = charge_of(each.own.counter.unit, each.hold, outcome)
        each.own.held -= each.hold.amount
        each.own.owned -= charge.amount


def _outcome(end: Mapping[str, Any], usages: Collection[Mapping[str, Any]]) -> Outcome:
    """Return the outcome of an interception, as the store finds it in its rows."""
    rows = [[usage[name] for name in _TOKENS] for usage in usages]
    costs = [usage["cost_nano_usd"] for usage in usages]
    return Outcome(
        status=end["status"],
        http_status=end["http_status"],
        usages=len(rows),
        unpriced=costs.count(None),
        cost_nano_usd=sum(cost or 0 for cost in costs),
        tokens=sum(count or 0 for row in rows for count in row),
        incomplete=sum(None in row and row[:2] != [None, None] for row in rows),
        other_units=sum(row[:2] == [None, None] for row in rows),
    )


_TOKENS = ("input_tokens", "output_tokens", "cache_write_input_tokens")
