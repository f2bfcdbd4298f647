"""`LimitCounts`: counts shared limits in the database, by a connection of its own."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aibridge_addon.access.limits.book import Lack, LimitChange
from aibridge_addon.store.postgres import schema
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import (
    PostgresConnection,
    connect,
    errors_of,
    import_psycopg,
)

LEASE_SECONDS = 60
"""Time after which the slots of a killed process are free."""
_SECOND = 1_000_000_000
_COUNT = "SELECT aibridge_count_limits(?::json, ?, ?, ?, ? = 1, ?::bigint)"
_RENEW = "SELECT aibridge_renew_limits(?::json, ?, ?, ?::bigint)"
_SETTINGS = (
    # A crash of the server may forget the last half second.
    "SET synchronous_commit = off",
    "SET statement_timeout = '2s'",
)
_MOST_TEXT = 200
"""Longest scope that is stored as it is: an index bounds the length of its texts."""


class LimitCounts:
    """The counts of one process, and the slots that its requests occupy.

    All methods may raise `StoreError`.
    """

    def __init__(
        self, address: Address, process_id: str, clock: Callable[[], float | None] = lambda: None
    ) -> None:
        """Use the clock of the database, unless `clock` returns a time."""
        self._address = address
        self._process_id = process_id
        self._clock = clock
        self._connection: PostgresConnection | None = None
        self._slots: dict[str, list[dict[str, str]]] = {}

    def take(self, request_id: str, changes: Sequence[LimitChange]) -> Lack | None:
        """Debit all changes, or return the first that lacks room."""
        lack = self._count(request_id, changes, is_checked=True)
        if lack is not None:
            index, seconds = json.loads(lack)
            return Lack(index=index, seconds=seconds)
        if slots := list(_slots_of(changes)):
            self._slots[request_id] = slots
        return None

    def change(self, request_id: str, changes: Sequence[LimitChange]) -> None:
        """Debit changes without a check; the slots that they free are not renewed any more."""
        self._note_slots(request_id, changes)
        self._count(request_id, changes, is_checked=False)

    def _note_slots(self, request_id: str, changes: Sequence[LimitChange]) -> None:
        slots = list(_slots_of(changes))
        if slots and all(change.amount < 0 for change in changes if _is_slot(change)):
            self._slots.pop(request_id, None)
        elif slots:
            self._slots[request_id] = slots

    def renew(self) -> None:
        """Renew the leases of all slots, and free those whose requests have ended meanwhile."""
        slots = [{**slot, "request_id": id_} for id_, each in self._slots.items() for slot in each]
        self._execute(_RENEW, json.dumps(slots), self._process_id, _LEASE, self._now())

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def _count(self, request_id: str, changes: Sequence[LimitChange], *, is_checked: bool) -> Any:
        rows = json.dumps([_row(number, change) for number, change in enumerate(changes)])
        return self._execute(
            _COUNT, rows, request_id, self._process_id, _LEASE, is_checked, self._now()
        )

    def _now(self) -> int | None:
        seconds = self._clock()
        return None if seconds is None else round(seconds * _SECOND)

    def _execute(self, sql: str, *values: Any) -> Any:
        """Return the value that a function returns; connect again if the connection broke."""
        with errors_of(self._address):
            if self._connection is not None:
                with contextlib.suppress(import_psycopg().OperationalError):
                    return self._value(self._connection, sql, values)
                self.close()
            self._connection = self._connect()
            return self._value(self._connection, sql, values)

    def _value(self, connection: PostgresConnection, sql: str, values: Sequence[Any]) -> Any:
        row = connection.execute(sql, values).fetchone()
        assert row
        return row[0]

    def _connect(self) -> PostgresConnection:
        connection = connect(self._address, "aibridge limits")
        try:
            schema.migrate(connection)
            for setting in _SETTINGS:
                connection.execute(setting)
        except BaseException:
            connection.close()
            raise
        return connection


_LEASE = LEASE_SECONDS * _SECOND


def _is_slot(change: LimitChange) -> bool:
    return change.bound == "open_requests"


def _slots_of(changes: Sequence[LimitChange]) -> Iterator[dict[str, str]]:
    for change in changes:
        if _is_slot(change):
            yield {"limit_name": change.limit, "scope": _storable(change.scope)}


def _row(number: int, change: LimitChange) -> dict[str, Any]:
    return {
        "number": number,
        "limit_name": change.limit,
        "scope": _storable(change.scope),
        "bound": change.bound,
        "most": change.most,
        "amount": change.amount,
    }


def _storable(scope: str) -> str:
    """Return a scope as the database can store it: names of actors may come from clients."""
    clean = scope.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(clean) <= _MOST_TEXT:
        return clean
    return f"{clean[:_MOST_TEXT]}…{hashlib.sha256(clean.encode()).hexdigest()}"
