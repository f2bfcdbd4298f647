"""Sums of what was recorded: from the database, read only, or from a proxy's own metrics."""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibridge_addon.access.runs import METADATA_KEY
from aibridge_addon.cli.tables import printable

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

GROUPS = {
    "actor": "i.initiator_id",
    "model": "coalesce(i.model, 'unknown')",
    "client": "i.client",
    "session": "coalesce(i.client_session_id, 'none')",
    "day": "date(i.started_at, 'localtime')",
}
"""By what can be summed, as SQL."""

# As `InterceptionEnded.usage_is_unknown` has it.
_UNKNOWN = """(
    u.interception_id IS NULL AND i.ended_at IS NOT NULL AND i.status <> 'refused'
    AND coalesce(i.http_status < 400, i.status IN ('cancelled', 'interrupted'))
)"""
_QUERY = """
SELECT {group} AS name, count(*) AS requests,
       sum(status IS NOT NULL AND status <> 'completed') AS failed,
       coalesce(sum(u.input), 0) AS input, coalesce(sum(u.cache_read), 0) AS cache_read,
       coalesce(sum(u.cache_write), 0) AS cache_write, coalesce(sum(u.output), 0) AS output,
       max(i.started_at) AS latest,
       sum({unknown}) AS without_usage,
       sum({unknown} AND i.api = 'openai_chat') AS chats_without_usage
FROM aibridge_interceptions i
LEFT JOIN (
    SELECT interception_id, sum(input_tokens) AS input, sum(output_tokens) AS output,
           sum(cache_read_input_tokens) AS cache_read, sum(cache_write_input_tokens) AS cache_write
    FROM aibridge_token_usages GROUP BY interception_id
) u ON u.interception_id = i.id
WHERE i.started_at >= :since AND {condition}
GROUP BY 1 ORDER BY {order}
"""

_OF_RUN = f"json_extract(i.metadata, '$.{METADATA_KEY}') = :run"


@dataclass(slots=True)
class Total:
    """What was used under one name."""

    name: str
    requests: int = 0
    failed: int = 0
    """Of the requests, those that did not end well."""
    input: int = 0
    """Tokens, without those from or to a cache."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    latest: str = ""
    """When the newest request began."""
    without_usage: int = 0
    """Of the requests, those that may have been billed and told no usage."""
    chats_without_usage: int = 0
    """Of these, those of Chat Completions, whose usage can be asked for."""

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of the tokens, so that they must not be shown as zero."""
        tokens = self.input or self.cache_read or self.cache_write or self.output
        return self.without_usage > 0 and not tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What has passed through a proxy."""

    totals: list[Total] = field(default_factory=list)
    """By model."""
    unrecorded: int = 0
    """Requests to providers that are none to a model, so that nothing is recorded of them."""


class UnreadableError(Exception):
    """The database cannot be read."""


def read_totals(database: Path, *, since: str, by: str, run: str | None = None) -> list[Total]:
    """Sum up what began at or after a time (as in the records) by a key of `GROUPS`.

    `run`: only the requests of the program that bears this mark of `aibridge run`.

    Raises:
        UnreadableError: there is no database, or it is none of ours.
    """
    order = "1" if by == "day" else "output DESC, requests DESC"
    # The group is one of ours.
    condition = "1" if run is None else _OF_RUN
    query = _QUERY.format(group=GROUPS[by], order=order, unknown=_UNKNOWN, condition=condition)
    try:
        with contextlib.closing(connect(database)) as connection:
            rows = connection.execute(query, {"since": since, "run": run}).fetchall()
    except sqlite3.Error as error:
        raise UnreadableError(f"{database}: {error}") from error
    return [Total(*row) for row in rows]


def connect(database: Path) -> sqlite3.Connection:
    """Open a database for reading only."""
    uri = f"{database.expanduser().absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=5)


_TYPES = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
}


def totals_of(registry: "CollectorRegistry") -> list[Total]:
    """Sum up, by model, what a proxy has counted since its start."""
    totals: dict[str, Total] = {}
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        value, model = int(sample.value), sample.labels.get("model", "")
        total = totals.setdefault(model, Total(model))
        if sample.name == "aibridge_interceptions_total":
            total.requests += value
            total.failed += value if sample.labels["status"] != "completed" else 0
        elif sample.name == "aibridge_responses_without_usage_total":
            total.without_usage += value
            total.chats_without_usage += value if sample.labels["api"] == "openai_chat" else 0
        elif sample.name == "aibridge_tokens_total":
            kind = _TYPES.get(sample.labels["type"])
            if kind is not None:
                setattr(total, kind, getattr(total, kind) + value)
    return [total for total in totals.values() if total.requests]


def passed_of(registry: "CollectorRegistry") -> Passed:
    """Sum up what a proxy has counted since its start."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    unrecorded = sum(int(s.value) for s in samples if s.name == "aibridge_passthrough_total")
    return Passed(totals=totals_of(registry), unrecorded=unrecorded)


def of_json(totals: Iterable[Mapping[str, Any]]) -> list[Total]:
    """Return totals from what `asdict` made of them."""
    return [Total(**total) for total in totals]


def summary(totals: Iterable[Total], unrecorded: int = 0) -> str:
    """Return one line for all totals, or for what passed where there are none."""
    totals = list(totals)
    requests = sum(total.requests for total in totals)
    if not requests:
        passed = f"nothing to record ({requests_of(unrecorded)} passed)"
        return passed if unrecorded else "no requests to AI providers"
    failed = sum(total.failed for total in totals)
    line = requests_of(requests)
    if failed:
        line += f" ({failed} did not complete)"
    tokens = [f"{printable(total.name)}: {_tokens(total)}" for total in totals]
    return " · ".join([line, *tokens, *filter(None, [unknown_usage(totals)])])


def unknown_usage(totals: Iterable[Total]) -> str:
    """Return how many requests told no usage, and the option that helps; empty if none."""
    totals = list(totals)
    unknown = sum(total.without_usage for total in totals)
    if not unknown:
        return ""
    said = f"{unknown:,} of {requests_of(sum(total.requests for total in totals))} told no usage"
    if any(total.chats_without_usage for total in totals):
        said += " (aibridge_ask_chat_usage=always asks for that of Chat Completions)"
    return said


def requests_of(count: int) -> str:
    """Return a number of requests, in words."""
    return f"{count:,} request{'s' * (count != 1)}"


def _tokens(total: Total) -> str:
    if total.is_unknown:
        return "tokens unknown"
    parts = [f"{total.input:,} in"]
    if total.cache_read:
        parts.append(f"{total.cache_read:,} from cache")
    if total.cache_write:
        parts.append(f"{total.cache_write:,} to cache")
    return ", ".join([*parts, f"{total.output:,} out"])
