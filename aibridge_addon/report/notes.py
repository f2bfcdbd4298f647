"""Sentences about figures: the same words on the terminal and on the page."""

from collections.abc import Sequence

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import UNKNOWN, usd
from aibridge_addon.report.numbers import percent

_MOST_NAMES = 5


def headline(figures: Figures) -> str:
    """Return the figures in one line: cost, requests, and what caches did."""
    cost = f"{usd(figures.cost_nano_usd)}{'+' * bool(figures.unpriced)}"
    if figures.cost_nano_usd is None and figures.unpriced:
        cost = "cost unknown"
    parts = [cost, requests(figures)]
    if figures.cache_read:
        saved = figures.saved_nano_usd
        gain = f", saved {usd(saved)}" if saved is not None and saved > 0 else ""
        parts.append(f"{percent(figures.cache_hit_rate)} of input from cache{gain}")
    return " · ".join(parts)


def requests(figures: Figures) -> str:
    """Return the number of requests, with those that did not complete."""
    kinds = ("failed", "cancelled", "refused", "interrupted", "open")
    counts = [(getattr(figures, kind), kind) for kind in kinds]
    others = ", ".join(f"{count:,} {kind}" for count, kind in counts if count)
    return requests_of(figures.requests) + (f" ({others})" if others else "")


def spent(figures: Figures, nothing: str = UNKNOWN) -> str:
    """Return what was billed, what a subscription would have cost, and what has no price."""
    parts = []
    if figures.cost_nano_usd is not None:
        parts.append(usd(figures.cost_nano_usd))
    if figures.list_price_nano_usd is not None:
        parts.append(f"{usd(figures.list_price_nano_usd)} list price, not billed")
    if figures.unpriced:
        parts.append(f"{figures.unpriced:,} unpriced")
    return " + ".join(parts) or nothing


def notes(figures: Figures) -> list[str]:
    """Return what the sums leave out or keep apart, one sentence each."""
    found = [unpriced(figures), without_usage(figures), incomplete(figures)]
    if figures.list_price_nano_usd is not None:
        found.append(f"list price of subscriptions, not billed: {usd(figures.list_price_nano_usd)}")
    if figures.provider_cost_nano_usd is not None:
        found.append(f"cost as providers reported it: {usd(figures.provider_cost_nano_usd)}")
    return [note for note in found if note]


def unpriced(figures: Figures) -> str:
    """Return a note on requests whose cost is unknown; empty without such requests."""
    if not figures.unpriced:
        return ""
    models, reasons = names(figures.unpriced_models), "; ".join(figures.unpriced_reasons)
    return (
        f"+ {figures.unpriced:,} unpriced request{'s' * (figures.unpriced != 1)}"
        + (f" (model{'s' * (len(figures.unpriced_models) != 1)} {models})" if models else "")
        + (f": {reasons}" if reasons else "")
    )


def without_usage(figures: Figures) -> str:
    """Return a note on requests without reported usage; empty if there are no such requests."""
    if not figures.without_usage:
        return ""
    note = f"no usage reported for {figures.without_usage:,} of {requests_of(figures.requests)}"
    if figures.chats_without_usage:
        note += " (aibridge_ask_chat_usage=always requests it from Chat Completions)"
    return note


def incomplete(figures: Figures) -> str:
    """Return a note on requests whose tokens are known in part; empty without such requests."""
    if not figures.incomplete:
        return ""
    return f"tokens are at least: {requests_of(figures.incomplete)} reported only some of them"


def at_least(figures: Figures, text: str) -> str:
    """Return a sum of tokens as text, marked if counts are missing from it."""
    return text + "+" * (figures.incomplete > 0 and text != UNKNOWN)


def names(values: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    shown = ", ".join(values[:_MOST_NAMES])
    more = len(values) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def requests_of(count: int) -> str:
    """Return a number of requests as text."""
    return f"{count:,} request{'s' * (count != 1)}"
