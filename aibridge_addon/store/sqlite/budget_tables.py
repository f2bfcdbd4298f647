"""The tables of budgets. `aibridge_budget_entries` is the truth; counters are its cached sums."""

from sqlite_utils import Database

_COUNTER = {"budget": str, "scope": str, "epoch": int, "unit": str, "bucket": str}
"""The counter of a budget: `epoch` counts its resets, `bucket` is the start of a window."""


def create(db: Database) -> None:
    """Create all tables."""
    _create_entries(db)
    _create_holds(db)
    db.table("aibridge_budget_counters").create(
        {**_COUNTER, "spent": int}, pk=tuple(_COUNTER), not_null={"spent"}
    )
    db.table("aibridge_budget_resets").create(
        {"id": str, "budget": str, "scope": str, "created_at": str},
        pk="id",
        not_null={"budget", "scope", "created_at"},
    )
    db.table("aibridge_budget_warnings").create(
        {"budget": str, "scope": str, "epoch": int, "bucket": str, "percent": int},
        pk=("budget", "scope", "epoch", "bucket", "percent"),
    )
    db.table("aibridge_budget_leases").create(
        {"owner": str, "expires_at": str}, pk="owner", not_null={"expires_at"}
    )


def create_slices(db: Database) -> None:
    """Create the table of the room that processes have set aside."""
    key = ("budget", "scope", "owner")
    own = {"owner": str, "amount": int}
    db.table("aibridge_budget_slices").create(
        {**_COUNTER, **own}, pk=key, not_null={*_COUNTER, *own}
    )


def add_promises(db: Database) -> None:
    """Add the time until which no other process takes a slice away, and the mark that it is wanted.

    The time is in milliseconds of the clock that the processes of a machine share.
    """
    slices = db.table("aibridge_budget_slices")
    slices.add_column("promised_until", int, not_null_default=0)
    slices.add_column("wanted", int, not_null_default=0)


def _create_entries(db: Database) -> None:
    entries = db.table("aibridge_budget_entries")
    own = {"charge": int, "how": str, "created_at": str}
    entries.create(
        {"id": str, "interception_id": str, **_COUNTER, **own},
        pk="id",
        not_null={"interception_id", *_COUNTER, *own},
    )
    entries.create_index(["interception_id"])
    entries.create_index(["budget", "scope", "epoch", "bucket"])


def _create_holds(db: Database) -> None:
    holds = db.table("aibridge_budget_holds")
    own = {"amount": int, "likely": int, "input": int, "owner": str, "created_at": str}
    holds.create(
        {"id": str, "interception_id": str, **_COUNTER, **own},
        pk=("id", "budget", "scope"),
        not_null={"interception_id", *own},
    )
    holds.create_index(["interception_id"])
    holds.create_index(["budget", "scope", "epoch", "unit", "bucket"])
