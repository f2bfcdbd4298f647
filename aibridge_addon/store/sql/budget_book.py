"""The budget book of a store: runs admissions and settlements on the recorder's thread."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from aibridge_addon.budgets.book import (
    BookUnavailableError,
    BudgetBook,
    BudgetedCall,
    BudgetRefusal,
    BudgetWarning,
    SetAside,
)
from aibridge_addon.facts import new_id
from aibridge_addon.store.connection import Connection
from aibridge_addon.store.sql.budgets import SQLBudgets
from aibridge_addon.store.statements import Statement

type Work = Callable[[Connection], Any]
"""Work in a transaction of the writer."""
type Run = Callable[[Work], Awaitable[Any]]
"""Runs work after all that is queued; raises `BookUnavailableError` if it is not committed."""

_ENDS = {
    "interception_ended": "id",
    # The response goes on, and perhaps nobody ever asks for it: its estimate is charged.
    "background_response": "interception_id",
}


def _write_holds(_connection: Connection) -> None:
    """Do nothing: each transaction writes holds, and renews promises."""


def _run_never(work: Work) -> NoReturn:
    raise BookUnavailableError("no recorder has started")


@dataclass(frozen=True, slots=True)
class _CallWork:
    """Work that counts a call in its budgets."""

    work: Callable[[Connection, BudgetedCall], Any]
    call: BudgetedCall
    alone: Callable[[BudgetedCall], list[Statement] | None]
    """Does the same without the store: returns the statements to spool, None if it cannot."""

    undo: Callable[[BudgetedCall], list[Statement]] = lambda call: []
    """Undoes what `alone` did, for a call that is refused after all."""

    def __call__(self, connection: Connection) -> Any:
        return self.work(connection, self.call)


def counters_of(works: Iterable[Work]) -> Iterator[str]:
    """Yield the names of the counters that works use."""
    for work in works:
        if isinstance(work, _CallWork):
            yield from (f"{budget.name}/{scope}" for budget, scope in work.call.scopes)


def alone(work: Work) -> list[Statement] | None:
    """Do a work without the store: return the statements to spool, None if it needs the store."""
    return work.alone(work.call) if isinstance(work, _CallWork) else None


def undo_alone(work: Work) -> list[Statement]:
    """Undo a work that was done without the store, but not spooled; return its statements."""
    if not isinstance(work, _CallWork) or work.call.must_hold:
        return []
    return work.undo(work.call)


class SQLBudgetBook(BudgetBook):
    """Budget book of one process."""

    def __init__(self, promise_clock: Callable[[], float] | None = None) -> None:
        """Admit calls in memory if there is a clock that all processes of the store share."""
        self.on_warning: Callable[[BudgetWarning], None] = lambda warning: None
        """Called on the recorder's thread."""
        self.run: Run = _run_never
        """Set by the recorder whose thread it works on."""
        self._budgets = SQLBudgets(owner=new_id(), promise_clock=promise_clock)
        self._warnings: list[BudgetWarning] = []
        self.is_used = False
        """True once a call was admitted: only then this process has a lease to renew."""

    async def admit(self, call: BudgetedCall) -> BudgetRefusal | None:
        """Hold the estimate in all budgets, or in none; return None once that is committed.

        Raises:
            BookUnavailableError: the database is unavailable.
        """
        self.is_used = True
        refusal: BudgetRefusal | None = await self.run(
            _CallWork(
                self._admit,
                call,
                alone=self._budgets.spare.admit,
                undo=self._budgets.spare.release,
            )
        )
        return refusal

    def admit_now(self, call: BudgetedCall) -> bool:
        """Hold the estimate in all budgets in memory; return False if that is not possible."""
        return self._budgets.admit_in_memory(call)

    def hold(self, call: BudgetedCall) -> Awaitable[Any]:
        """Hold the estimate of a call that cannot be refused any more."""
        self.is_used = True
        return self.run(_CallWork(self._admit, call, self._budgets.spare.admit))

    def _admit(self, connection: Connection, call: BudgetedCall) -> BudgetRefusal | None:
        self._warnings += self._budgets.settle_so_far(connection, call.interception_id)
        return self._budgets.admit(connection, call)

    def before(self, connection: Connection, works: Iterable[Work]) -> None:
        """Prepare a transaction of works; also keeps other processes from counting meanwhile."""
        self._budgets.begin(connection)

    def set_aside(self) -> Sequence[SetAside]:
        """Return the room that this process has set aside."""
        return self._budgets.set_aside()

    def release(self, call: BudgetedCall) -> Awaitable[Any]:
        """Remove the holds of a call that is not sent after all."""
        return self.run(_CallWork(self._release, call, self._budgets.spare.release))

    def _release(self, connection: Connection, call: BudgetedCall) -> None:
        self._budgets.release(connection, call.id)

    def settle(self, connection: Connection, statements: Iterable[Statement]) -> None:
        """Settle the holds of the interceptions that end with these statements."""
        self._warnings = self._budgets.settle(connection, self.ended(statements))

    def spooled(self, statements: Iterable[Statement]) -> list[Statement]:
        """Note what ends with statements that the store will have later.

        Returns:
            The statements of holds that precede them.
        """
        self._budgets.spare.settle(statements)
        return self._budgets.spool_holds()

    def ended(self, statements: Iterable[Statement]) -> list[str]:
        """Return the ids of the interceptions that end with statements."""
        return [str(values[_ENDS[kind]]) for kind, values in statements if kind in _ENDS]

    def orphans(self, connection: Connection) -> list[str]:
        """Return the ids of the interceptions that `sweep` settles."""
        return self._budgets.orphans(connection)

    @property
    def due(self) -> Work | None:
        """The work that should run, if any."""
        if self.is_used and self._budgets.is_sweep_due():
            return self.sweep
        return _write_holds if self._budgets.must_write else None

    def keep_lease(self, connection: Connection) -> None:
        """Renew the lease if that is due: statements may hold calls under it."""
        self._budgets.keep_lease(connection)

    def sweep(self, connection: Connection) -> None:
        """Renew the lease, and settle the holds of processes that have ended."""
        self._warnings = self._budgets.sweep(connection)

    def rolled_back(self) -> None:
        """Forget what the last transaction changed, which was not committed."""
        self._budgets.rolled_back()
        self._warnings.clear()

    def committed(self) -> None:
        """Report the warnings of the last settlement, which is committed now."""
        self._budgets.committed()
        warnings, self._warnings = self._warnings, []
        for warning in warnings:
            self.on_warning(warning)
