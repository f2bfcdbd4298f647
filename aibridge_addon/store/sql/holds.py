"""The row of a hold, as an admission or a statement of the spool inserts it."""

from datetime import datetime

from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Estimate
from aibridge_addon.budgets.windows import as_text
from aibridge_addon.store.sql.counters import Counter

type HoldRow = tuple[str, str, str, str, int, str, str, int, int, int, str, str]


def hold_row(
    call: BudgetedCall,
    counter: Counter,
    estimate: Estimate | None,
    amount: int,
    *,
    owner: str,
    moment: datetime,
) -> HoldRow:
    """Return the values of `BUDGET_HOLD`."""
    return (
        call.id,
        call.interception_id,
        *counter.key,
        amount,
        estimate.likely if estimate else 0,
        estimate.input if estimate else 0,
        owner,
        as_text(moment),
    )
