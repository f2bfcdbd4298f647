"""Settlements in SQL: replace the holds of ended interceptions by their charges, exactly once.

The charges of a transaction are added up, so that each counter is updated once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aibridge_addon.budgets.book import BudgetWarning
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.charges import Charge, Hold, How, Outcome, charge_of, crossed
from aibridge_addon.budgets.windows import as_text
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql import budget_sql
from aibridge_addon.store.sql.counters import Counter
from aibridge_addon.store.sql.rows import execute_rows
from aibridge_addon.store.sql.slices import Settled, Slices

type Clock = Callable[[], datetime]


@dataclass(slots=True)
class _Held:
    """The holds of an interception in one counter."""

    id: str
    """Id of the first call."""
    counter: Counter
    owner: str
    hold: Hold

    def add(self, other: "_Held") -> None:
        """Add the hold of another call."""
        self.id = min(self.id, other.id)
        self.counter = min(self.counter, other.counter)
        self.hold = Hold(
            amount=self.hold.amount + other.hold.amount,
            likely=self.hold.likely + other.hold.likely,
            input=self.hold.input + other.hold.input,
        )


class Settlement:
    """The charges of one transaction."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        slices: Slices,
        unwritten: dict[str, list[Any]] | None = None,
    ) -> None:
        """Charge holds that were never written, by interception, without a look for them."""
        self._unwritten = unwritten or {}
        self._connection = connection
        self._clock = clock
        self._slices = slices
        self._settled: list[Settled] = []
        self._added: defaultdict[Counter, int] = defaultdict(int)

    def settle(self, interception_id: str) -> None:
        """Replace the holds of an ended interception, or correct the estimate that it was charged.

        An interception without either is not in a budget, or was settled before.
        """
        held = self._remove_holds(interception_id)
        if held:
            outcome, entries = self._outcome(interception_id)
            self._charge_all(interception_id, held, outcome, entries)
        else:
            self._correct(interception_id)

    def settle_so_far(self, interception_id: str) -> None:
        """Charge the upstream requests of an inner loop that are complete, before its next one.

        Otherwise a loop would hold the most that each of them may cost, and wait for itself.
        """
        outcome, entries = self._outcome(interception_id)
        if outcome.usages and (held := self._remove_holds(interception_id)):
            told = replace(outcome, status="completed", http_status=200)
            self._charge_all(interception_id, held, told, entries)

    def finish(self, budgets: Mapping[str, Budget]) -> list[BudgetWarning]:
        """Update counters and slices; return the warnings of the thresholds that they cross."""
        self._slices.settle(self._connection, self._settled)
        warnings = []
        # In an order, so that no two transactions wait for each other.
        charged = sorted(self._added.items())
        rows = [(*counter.key, added) for counter, added in charged]
        execute_rows(self._connection, budget_sql.COUNT, rows)
        for counter, added in charged:
            if budget := budgets.get(counter.budget):
                warnings += self._warn(budget, counter, added)
        return warnings

    def _remove_holds(self, interception_id: str) -> list[_Held]:
        """Remove the holds of an interception, and return them by counter."""
        held: dict[tuple[str, str, int, str], _Held] = {}
        removed = self._unwritten.pop(interception_id, None)
        if removed is None:
            found = self._connection.execute(budget_sql.REMOVE_HOLDS, (interception_id,))
            removed = found.fetchall()
        for id_, *key, owner, amount, likely, input_ in removed:
            hold = Hold(amount=amount, likely=likely, input=input_)
            row = _Held(id_, Counter(*key), owner, hold)
            before = held.setdefault(row.counter.key[:4], row)
            if before is not row:
                before.add(row)
        return list(held.values())

    def _charge_all(
        self, interception_id: str, held: Iterable[_Held], outcome: Outcome, entries: int
    ) -> None:
        """Charge an interception, which has entries already if it is an inner loop."""
        charged = self._charged(interception_id) if entries else {}
        charges = []
        for each in held:
            counter = each.counter
            charge = charge_of(counter.unit, each.hold, outcome)
            if before := charged.get((counter.budget, counter.scope, counter.unit)):
                charge = replace(charge, amount=max(0, charge.amount - before))
            charges.append((each.id, counter, charge))
            self._settled.append(
                Settled(
                    counter=counter,
                    owner=each.owner,
                    held=each.hold.amount,
                    charge=charge.amount,
                )
            )
        self._charge(interception_id, charges, is_first=not entries)

    def _charged(self, interception_id: str) -> dict[tuple[str, str, str], int]:
        """Return the charges of an interception so far, by budget, scope and unit."""
        rows = self._connection.execute(budget_sql.CHARGED, (interception_id,))
        return {tuple(key): amount for *key, amount in rows}

    def _correct(self, interception_id: str) -> None:
        """Correct an estimated charge, now that the usage is known."""
        estimated = self._connection.execute(budget_sql.ESTIMATED, (interception_id,)).fetchall()
        if not estimated:
            return
        outcome, _ = self._outcome(interception_id)
        if not outcome.usages or outcome.status != "completed":
            return
        for id_, *key, charged in estimated:
            counter = Counter(*key)
            in_usd = counter.unit == "usd"
            told = outcome.cost_nano_usd if in_usd else outcome.tokens
            charge = Charge(amount=told - charged, how="correction")
            if outcome.unpriced if in_usd else outcome.lacks_tokens:
                how: How = "unpriced" if in_usd else "correction"
                charge = Charge(amount=max(0, charge.amount), how=how)
            self._slices.revoke(self._connection, counter.budget, counter.scope)
            self._charge(interception_id, [(f"{id_}:correction", counter, charge)], is_first=False)

    def _outcome(self, interception_id: str) -> tuple[Outcome, int]:
        """Return the outcome of an interception, and the number of its entries."""
        values = {"id": interception_id}
        row = self._connection.execute(budget_sql.OUTCOME, values).fetchone()
        status, http_status, usages, unpriced, cost, tokens, incomplete, others, entries = row
        outcome = Outcome(
            status=status,
            http_status=http_status,
            usages=usages,
            unpriced=unpriced,
            cost_nano_usd=cost,
            tokens=tokens,
            incomplete=incomplete,
            other_units=others,
        )
        return outcome, entries

    def _charge(
        self,
        interception_id: str,
        charges: Iterable[tuple[str, Counter, Charge]],
        *,
        is_first: bool,
    ) -> None:
        """Enter charges in the ledger, each once."""
        at = as_text(self._clock())
        entries = []
        for id_, counter, charge in charges:
            key = f"{id_}:{counter.budget}:{counter.scope}"
            row = (key, interception_id, *counter.key, charge.amount, charge.how, at)
            if is_first or self._connection.execute(budget_sql.ENTRY, row).rowcount:
                entries.append(row)
                self._added[counter] += charge.amount
        if is_first:
            execute_rows(self._connection, budget_sql.ENTRIES, entries)

    def _warn(self, budget: Budget, counter: Counter, added: int) -> list[BudgetWarning]:
        """Return the warnings of the thresholds that charges cross; each is stored once."""
        added = self._slices.unchecked(budget, counter, added)
        if not added:
            return []
        start = datetime.fromisoformat(counter.bucket) if counter.bucket else self._clock()
        window = budget.window.at(start)
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
