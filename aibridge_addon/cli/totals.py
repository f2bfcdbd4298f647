"""Usage totals of a temporary proxy, from its metrics; totals as one line of text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aibridge_addon.cli.tables import printable
from aibridge_addon.store.usage import UsageTotal

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Summary of everything that passed through a proxy."""

    totals: list[UsageTotal] = field(default_factory=list)
    """By model."""
    unrecorded: int = 0
    """Requests to providers that are not recorded, because they do not use a model."""


_TOKEN_TYPES = frozenset({"input", "output", "cache_read", "cache_write"})


def totals_of(registry: "CollectorRegistry") -> list[UsageTotal]:
    """Return the totals by model from the metrics of a proxy."""
    totals: dict[str, UsageTotal] = {}
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        value, model = int(sample.value), sample.labels.get("model", "")
        total = totals.setdefault(model, UsageTotal(model))
        if sample.name == "aibridge_interceptions_total":
            total.requests += value
            total.failed += value if sample.labels["status"] != "completed" else 0
        elif sample.name == "aibridge_responses_without_usage_total":
            total.without_usage += value
            total.chats_without_usage += value if sample.labels["api"] == "openai_chat" else 0
        elif sample.name == "aibridge_tokens_total":
            kind = sample.labels["type"]
            if kind in _TOKEN_TYPES:
                setattr(total, kind, getattr(total, kind) + value)
    return [total for total in totals.values() if total.requests]


def passed_of(registry: "CollectorRegistry") -> Passed:
    """Return the summary of everything that passed from the metrics of a proxy."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    unrecorded = sum(int(s.value) for s in samples if s.name == "aibridge_passthrough_total")
    return Passed(totals=totals_of(registry), unrecorded=unrecorded)


def of_json(totals: Iterable[Mapping[str, Any]]) -> list[UsageTotal]:
    """Return totals from their JSON objects."""
    return [UsageTotal(**total) for total in totals]


def summary(totals: Iterable[UsageTotal], unrecorded: int = 0) -> str:
    """Return all totals as one line of text."""
    totals = list(totals)
    requests = sum(total.requests for total in totals)
    if not requests:
        passed = f"no recorded requests ({requests_of(unrecorded)} passed)"
        return passed if unrecorded else "no requests to AI providers"
    failed = sum(total.failed for total in totals)
    line = requests_of(requests)
    if failed:
        line += f" ({failed} did not complete)"
    tokens = [f"{printable(total.name)}: {_tokens(total)}" for total in totals]
    return " · ".join([line, *tokens, *filter(None, [unknown_usage(totals)])])


def unknown_usage(totals: Iterable[UsageTotal]) -> str:
    """Return a note on requests without reported usage; empty if there are no such requests."""
    totals = list(totals)
    unknown = sum(total.without_usage for total in totals)
    if not unknown:
        return ""
    requests = requests_of(sum(total.requests for total in totals))
    note = f"no usage reported for {unknown:,} of {requests}"
    if any(total.chats_without_usage for total in totals):
        note += " (aibridge_ask_chat_usage=always requests it from Chat Completions)"
    return note


def requests_of(count: int) -> str:
    """Return a number of requests as text."""
    return f"{count:,} request{'s' * (count != 1)}"


def _tokens(total: UsageTotal) -> str:
    if total.is_unknown:
        return "tokens unknown"
    details = [f"{total.input:,} in"]
    if total.cache_read:
        details.append(f"{total.cache_read:,} from cache")
    if total.cache_write:
        details.append(f"{total.cache_write:,} to cache")
    return ", ".join([*details, f"{total.output:,} out"])
