"""The tables of budgets. `aibridge_budget_entries` is the truth; counters are its cached sums."""

from sqlite_utils import Database

_COUNTER = {"budget": str, "scope": str, "epoch": int, "unit": str, "bucket": str}
"""The counter of a budget: `epoch` counts its resets, `bucket` is the start of a window."""


def create(db: Database) -> None:
    """Create all tables."""
    entries = db.table("aibridge_budget_entries")
    entries.create(
        {
            "id": str,
            "interception_id": str,
            **_COUNTER,
            "charge": int,
            "how": str,
            "created_at": str,
        },
        pk="id",
        not_null={"interception_id", *_COUNTER, "charge", "how", "created_at"},
    )
    entries.create_index(["interception_id"])
    entries.create_index(["budget", "scope", "epoch", "bucket"])
    db.table("aibridge_budget_counters").create(
        {**_COUNTER, "spent": int}, pk=tuple(_COUNTER), not_null={"spent"}
    )
    holds = db.table("aibridge_budget_holds")
    holds.create(
        {
            "id": str,
            "interception_id": str,
            **_COUNTER,
            "amount": int,
            "likely": int,
            "input": int,
            "owner": str,
            "created_at": str,
        },
        pk=("id", "budget", "scope"),
        not_null={"interception_id", "amount", "likely", "input", "owner", "created_at"},
    )
    holds.create_index(["interception_id"])
    holds.create_index(["budget", "scope", "epoch", "unit", "bucket"])
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
