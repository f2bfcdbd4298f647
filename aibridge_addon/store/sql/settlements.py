"""Settlements in SQL: replace the holds of ended interceptions by their charges, exactly once.

The charges of a transaction are added up, so that each counter is updated once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.charges import Charge, Hold, How, Outcome, charge_of, crossed
from aibridge_addon.budgets.windows import as_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.counters import Counter
from aibridge_addon.store.sql.slices import Settled, Slices

type Clock = Callable[[], datetime]
type _Charged = Mapping[tuple[str, str, str], int]
"""The charges of an interception so far, by budget, scope and unit."""


class Settlement:
    """The charges of one transaction."""

    def __init__(self, connection: Connection, clock: Clock, slices: Slices) -> None:
        self._connection = connection
        self._clock = clock
        self._slices = slices
        self._settled: list[Settled] = []
        self._added: defaultdict[Counter, int] = defaultdict(int)

    def settle(self, interception_id: str) -> None:
        """Replace the holds of an ended interception, or correct the estimate that it was charged.

        An interception without either is not in a budget, or was settled before.
        """
        holds = self._holds_of(interception_id)
        if holds:
            self._replace(interception_id, holds, self._outcome(interception_id))
        else:
            self._correct(interception_id)

    def settle_so_far(self, interception_id: str) -> None:
        """Charge the upstream requests of an inner loop that are complete, before its next one.

        Otherwise a loop would hold the most that each of them may cost, and wait for itself.
        """
        holds = self._holds_of(interception_id)
        outcome = self._outcome(interception_id) if holds else None
        if outcome and outcome.usages:
            told = replace(outcome, status="completed", http_status=200)
            self._replace(interception_id, holds, told)

    def finish(self, budgets: Mapping[str, Budget]) -> list[BudgetWarning]:
        """Update counters and slices; return the warnings of the thresholds that they cross."""
        self._slices.settle(self._connection, self._settled)
        warnings = []
        # In an order, so that no two transactions wait for each other.
        for counter, added in sorted(self._added.items()):
            values = (*counter.key, added)
            (spent,) = self._connection.execute(budget_sql.COUNT, values).fetchone()
            if budget := budgets.get(counter.budget):
                warnings += self._warn(budget, counter, added, spent)
        return warnings

    def _holds_of(self, interception_id: str) -> list[Sequence[Any]]:
        return self._connection.execute(budget_sql.HOLDS_OF, (interception_id,)).fetchall()

    def _replace(
        self, interception_id: str, holds: Iterable[Sequence[Any]], outcome: Outcome
    ) -> None:
        charged: _Charged = {
            (budget, scope, unit): amount
            for budget, scope, unit, amount in self._connection.execute(
                budget_sql.CHARGED, (interception_id,)
            )
        }
        for id_, budget, scope, epoch, unit, bucket, owner, amount, likely, input_ in holds:
            charge = charge_of(unit, Hold(amount=amount, likely=likely, input=input_), outcome)
            if before := charged.get((budget, scope, unit)):
                charge = replace(charge, amount=max(0, charge.amount - before))
            counter = Counter(budget, scope, epoch, unit, bucket)
            self._charge(id_, interception_id, counter, charge)
            self._settled.append(
                Settled(counter=counter, owner=owner, held=amount, charge=charge.amount)
            )
        self._connection.execute(budget_sql.REMOVE_HOLDS, (interception_id,))

    def _correct(self, interception_id: str) -> None:
        """Correct an estimated charge, now that the usage is known."""
        estimated = self._connection.execute(budget_sql.ESTIMATED, (interception_id,)).fetchall()
        outcome = self._outcome(interception_id) if estimated else None
        if outcome is None or not outcome.usages or outcome.status != "completed":
            return
        for id_, *key, charged in estimated:
            counter = Counter(*key)
            in_usd = counter.unit == "usd"
            told = outcome.cost_nano_usd if in_usd else outcome.tokens
            charge = Charge(amount=told - charged, how="correction")
            if outcome.unpriced if in_usd else outcome.incomplete:
                how: How = "unpriced" if in_usd else "correction"
                charge = Charge(amount=max(0, charge.amount), how=how)
            self._slices.revoke(self._connection, counter.budget, counter.scope)
            self._charge(f"{id_}:correction", interception_id, counter, charge)

    def _outcome(self, interception_id: str) -> Outcome:
        status, http_status, usages, unpriced, cost, tokens, incomplete = self._connection.execute(
            budget_sql.OUTCOME, {"id": interception_id}
        ).fetchone()
        return Outcome(
            status=status,
            http_status=http_status,
            usages=usages,
            unpriced=unpriced,
            cost_nano_usd=cost,
            tokens=tokens,
            incomplete=incomplete,
        )

    def _charge(
        self, entry_id: str, interception_id: str, counter: Counter, charge: Charge
    ) -> None:
        key = f"{entry_id}:{counter.budget}:{counter.scope}"
        at = as_text(self._clock())
        values = (key, interception_id, *counter.key, charge.amount, charge.how, at)
        if self._connection.execute(budget_sql.ENTRY, values).rowcount:
            self._added[counter] += charge.amount

    def _warn(
        self, budget: Budget, counter: Counter, added: int, spent: int
    ) -> list[BudgetWarning]:
        """Return the warnings of the thresholds that charges cross; each is stored once."""
        start = datetime.fromisoformat(counter.bucket) if counter.bucket else self._clock()
        window = budget.window.at(start)
        if window.first_bucket != counter.bucket:  # one of several counters of a window that rolls
            values = (*counter.key[:4], window.first_bucket)
            (spent,) = self._connection.execute(budget_sql.SPENT, values).fetchone()
        return [
            BudgetWarning(budget=budget, scope=counter.scope, percent=percent, spent=spent)
            for percent in crossed(budget.warn_at, budget.limit, spent - added, spent)
            if self._connection.execute(
                budget_sql.WARNING,
                (budget.name, counter.scope, counter.epoch, window.bucket, percent),
            ).rowcount
        ]
