"""Prices recorded calls again: reads them in steps, and writes the changed prices of each step.

Prices are calculated between the transactions, so that a proxy never waits for a calculation. A row
that the proxy changed meanwhile keeps the proxy's price.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from aibridge_addon.facts import Price, unknown_counts
from aibridge_addon.prices.billed_call import BilledCall
from aibridge_addon.store.columns import PRICES
from aibridge_addon.store.connection import Connection, transaction
from aibridge_addon.store.repriced import PriceCall, Repriced

_STEP = 500
"""Calls per transaction."""
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
)
_READ = f"""
SELECT u.id, u.model, {", ".join(f"u.{name}" for name in (*_COUNTS, *PRICES))}, u.extra,
    u.created_at, i.provider_name,
    CASE WHEN json_extract(u.metadata, '$.call') IS NULL THEN i.model END AS requested
FROM aibridge_token_usages u JOIN aibridge_interceptions i ON i.id = u.interception_id
WHERE u.id > :after AND u.created_at >= :since ORDER BY u.id LIMIT :step
"""  # noqa: S608 names of columns
_UPDATE = f"""
UPDATE aibridge_token_usages SET {", ".join(f"{name} = :{name}" for name in PRICES)}
WHERE id = :id AND model IS :model AND extra IS :extra
    AND {" AND ".join(f"{name} IS :{name}" for name in _COUNTS)}
"""  # noqa: S608 names of columns


def reprice(
    connection: Connection, since: str, price: PriceCall, *, write: bool
) -> Iterator[Repriced]:
    """Price the calls since a time again; yield each with its old and new price."""
    after = ""
    while rows := _read(connection, after, since):
        repriced = [_repriced(row, price) for row in rows]
        if write:
            _write(connection, rows, repriced)
        yield from repriced
        after = rows[-1]["id"]


def _read(connection: Connection, after: str, since: str) -> list[dict[str, Any]]:
    cursor = connection.execute(_READ, {"after": after, "since": since, "step": _STEP})
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _repriced(row: Mapping[str, Any], price: PriceCall) -> Repriced:
    call = BilledCall(
        provider_name=row["provider_name"],
        model=row["model"] or row["requested"],
        **{name: row[name] or 0 for name in _COUNTS},
        unknown=unknown_counts(SimpleNamespace(**{name: row[name] for name in _COUNTS})),
        extra=json.loads(row["extra"] or "{}"),
        created_at=row["created_at"],
    )
    before = Price(**{name: row[name] for name in PRICES})
    return Repriced(call=call, before=before, after=price(call) or before)


def _write(connection: Connection, rows: list[dict[str, Any]], repriced: list[Repriced]) -> None:
    changes = [
        row | asdict(found.after)
        for row, found in zip(rows, repriced, strict=True)
        if found.before != found.after
    ]
    if changes:
        with transaction(connection):
            connection.executemany(_UPDATE, changes)
