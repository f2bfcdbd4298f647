"""Latency of the requests of whole days, weeks and months, as counts of rounded milliseconds.

It has no actors: with them there would be a row for nearly every request.
"""

from aibridge_addon.store.sql.cubes import WEEK, Part, days_source
from aibridge_addon.store.sql.figures import KEYS

TABLE = "aibridge_span_latency"
KEY_COLUMNS = ("model", "client", "provider_name")
"""Keys of the roll-up by which latency is counted."""
DURATION_MS = "CAST(round((julianday(i.ended_at) - julianday(i.started_at)) * 86400000) AS BIGINT)"
"""SQL of the duration of an interception `i`; null while it is open."""
MEASUREMENTS = {"ttft": "i.ttft_ms", "duration": DURATION_MS}
"""Measured times, by their SQL for an interception `i`."""

_COLUMNS = ("begin_hour", "end_hour", "measurement", *KEY_COLUMNS)
CREATE = (
    f"CREATE TABLE {TABLE} ({', '.join(f'{name} TEXT NOT NULL' for name in _COLUMNS)},"
    " ms INTEGER NOT NULL, requests INTEGER NOT NULL,"
    f" PRIMARY KEY ({', '.join((*_COLUMNS, 'ms'))})) WITHOUT ROWID"
)
_STEPS = range(1, 26)
_EXACT = 64
"""Milliseconds below this are exact."""


def rounded_sql(ms: str) -> str:
    """Return the SQL that rounds milliseconds to the middle of 32 steps per power of two.

    The middle differs from each of its values by at most 1/64: 1.6 %.
    """
    cases = " ".join(
        f"WHEN {ms} < {_EXACT << step} THEN {ms} / {1 << step} * {1 << step} + {1 << step - 1}"
        for step in _STEPS
    )
    return f"CASE WHEN {ms} < {_EXACT} THEN {ms} {cases} ELSE {_EXACT << _STEPS[-1]} END"


def round_ms(ms: int) -> int:
    """Return milliseconds as `rounded_sql` rounds them."""
    if ms < _EXACT:
        return ms
    step = ms.bit_length() - _EXACT.bit_length() + 1
    if step > _STEPS[-1]:
        return _EXACT << _STEPS[-1]
    return (ms >> step << step) + (1 << step - 1)


def _insert_sql(source: str, requests: str) -> str:
    keys = ", ".join(("measurement", *KEY_COLUMNS, "ms"))
    return (
        f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}, ms, requests)"  # noqa: S608
        f" SELECT :begin, :end, {keys}, {requests} FROM {source} WHERE ms IS NOT NULL"
        f" GROUP BY {keys} ON CONFLICT ({', '.join((*_COLUMNS, 'ms'))})"
        " DO UPDATE SET requests = excluded.requests"
    )


def _measured_sql(measurement: str, ms: str) -> str:
    keys = ", ".join(f"{KEYS[key]} AS {key}" for key in KEY_COLUMNS)
    times = (
        f"SELECT {keys}, {ms} AS ms FROM aibridge_interceptions i"  # noqa: S608
        " WHERE i.started_at >= :begin AND i.started_at < :end AND i.status = 'completed'"
    )
    return (
        f"SELECT '{measurement}' AS measurement, {', '.join(KEY_COLUMNS)},"  # noqa: S608
        f" {rounded_sql('ms')} AS ms FROM ({times}) i"
    )


PART = Part(
    table=TABLE,
    longest=WEEK,
    sum_day=tuple(
        _insert_sql(f"({_measured_sql(measurement, ms)}) i", "count(*)")
        for measurement, ms in MEASUREMENTS.items()
    ),
    sum_days=_insert_sql(days_source(TABLE), "sum(i.requests)"),
)
"""Counts completed requests."""
