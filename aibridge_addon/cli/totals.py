"""Usage totals of a temporary proxy, from its metrics; totals as one line of text."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aibridge_addon.cli.tables import printable
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import NANO_USD
from aibridge_addon.report.notes import at_least, requests_of, spent, without_usage
from aibridge_addon.report.numbers import count
from aibridge_addon.report.rows import GroupRow
from aibridge_addon.report.sums import total

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Summary of everything that passed through a proxy."""

    totals: list[GroupRow] = field(default_factory=list)
    """By model."""
    unrecorded: int = 0
    """Requests to providers that are not recorded, because they do not use a model."""


_TOKEN_TYPES = frozenset({"input", "output", "cache_read", "cache_write"})
_MONEY = {"billed": "cost_nano_usd", "list_price": "list_price_nano_usd"}


def totals_of(registry: "CollectorRegistry") -> list[GroupRow]:
    """Return the totals by model from the metrics of a proxy."""
    totals: dict[str, Counter[str]] = {}
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        counts = totals.setdefault(sample.labels.get("model", ""), Counter())
        for name, value in _counted(sample.name, sample.labels, sample.value).items():
            counts[name] += value
    return [
        GroupRow(names=(model,), figures=_figures(counts))
        for model, counts in totals.items()
        if counts["requests"]
    ]


def _figures(counts: Mapping[str, Any]) -> Figures:
    return Figures(**counts)


def _counted(name: str, labels: Mapping[str, str], value: float) -> dict[str, int]:
    """Return what a sample adds to the fields of `Figures`."""
    number = int(value)
    match name:
        case "aibridge_interceptions_total":
            return {"requests": number, labels["status"]: number}
        case "aibridge_responses_without_usage_total":
            is_chat = labels["api"] == "openai_chat"
            chats = number if is_chat else 0
            return {"without_usage": number, "chats_without_usage": chats, "unpriced": number}
        case "aibridge_tokens_total" if labels["type"] in _TOKEN_TYPES:
            return {labels["type"]: number}
        case "aibridge_unknown_tokens_total" if labels["type"] in ("input", "output"):
            return {"incomplete": number}
        case "aibridge_cost_usd_total":
            return {_MONEY[labels["basis"]]: round(value * NANO_USD)}
        case "aibridge_unpriced_calls_total":
            return {"unpriced": number}
    return {}


def passed_of(registry: "CollectorRegistry") -> Passed:
    """Return the summary of everything that passed from the metrics of a proxy."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    unrecorded = sum(int(s.value) for s in samples if s.name == "aibridge_passthrough_total")
    return Passed(totals=totals_of(registry), unrecorded=unrecorded)


def of_json(totals: Iterable[Mapping[str, Any]]) -> list[GroupRow]:
    """Return totals from their JSON objects."""
    return [
        GroupRow(names=tuple(total["names"]), figures=Figures(**total["figures"]))
        for total in totals
    ]


def summary(totals: Iterable[GroupRow], unrecorded: int = 0) -> str:
    """Return all totals as one line of text."""
    totals = list(totals)
    overall = total(row.figures for row in totals)
    if not overall.requests:
        passed = f"no recorded requests ({requests_of(unrecorded)} passed)"
        return passed if unrecorded else "no requests to AI providers"
    line = requests_of(overall.requests)
    if overall.not_completed:
        line += f" ({overall.not_completed:,} did not complete)"
    tokens = [f"{printable(row.names[0] or 'unknown')}: {_tokens(row.figures)}" for row in totals]
    return " · ".join([line, *tokens, *filter(None, [spent(overall, ""), without_usage(overall)])])


def _tokens(figures: Figures) -> str:
    if figures.tokens_unknown:
        return "not billed by tokens" if figures.billed_otherwise else "tokens unknown"
    details = [f"{_sum(figures, figures.input)} in"]
    if figures.cache_read:
        details.append(f"{figures.cache_read:,} from cache")
    if figures.cache_write:
        details.append(f"{figures.cache_write:,} to cache")
    return ", ".join([*details, f"{_sum(figures, figures.output)} out"])


def _sum(figures: Figures, tokens: int) -> str:
    return at_least(figures, count(figures.known(tokens)))
