"""Samplers: the amounts that facts add to metrics, and the labels of facts. Pure."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from aibridge_addon.facts import (
    UNEXPLAINED_TOKENS,
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    Status,
    TokenUsage,
    UsagePriced,
)

type Sampler = Callable[[Any], Iterable[tuple[str, float]]]
"""Returns what a fact adds to a metric: values of the metric's own label, with their amounts. The
own label is the one that is not in `FACT_LABELS`; without one, the values are ignored."""

_NANO = 1_000_000_000
_COUNTS = ("_tokens", "_requests")
"""Suffixes of the names in a usage's `extra` that are counts; others are labels and prices."""


def _interception(fact: Any) -> Interception:
    return fact if isinstance(fact, Interception) else fact.interception


def _model(fact: Any) -> str | None:
    fact = fact.usage if isinstance(fact, UsagePriced) else fact
    # A call that the provider made by itself often uses another model than the requested one.
    if isinstance(fact, TokenUsage) and fact.call and fact.model:
        return fact.model
    return _interception(fact).model


FACT_LABELS: Mapping[str, Callable[[Any], str | None]] = {
    "provider": lambda fact: _interception(fact).provider_name,
    "model": _model,
    "route": lambda fact: _interception(fact).route,
    "method": lambda fact: _interception(fact).method,
    "api": lambda fact: _interception(fact).api,
    "initiator_id": lambda fact: _interception(fact).initiator_id,
    "client": lambda fact: _interception(fact).client,
    "status": lambda fact: fact.status.value,
    "server": lambda fact: fact.metadata.get("server", ""),
    "name": lambda fact: fact.tool,
    "failure": lambda fact: fact.failure,
    "to": lambda fact: fact.to,
}
"""Labels whose values every metric reads from a fact in the same way."""


_INPUTS: Mapping[str, str] = {
    "provider": "provider_name",
    **{name: name for name in ("model", "route", "method", "api", "initiator_id", "client")},
}
"""Attributes of an interception that labels are read from, by label."""
_OWN_INPUTS: Mapping[str, str] = {
    "status": "status",
    "name": "tool",
    "failure": "failure",
    "to": "to",
}
"""Attributes of a fact itself that labels are read from, by label."""
_MODEL_INPUTS: Mapping[type, tuple[str, ...]] = {
    TokenUsage: ("call", "model"),
    UsagePriced: ("usage.call", "usage.model"),
}


def inputs_of(kind: type, labels: Iterable[str]) -> Callable[[Any], Hashable] | None:
    """Return a function that reads all that the labels of a fact depend on, cheaply.

    None if a label depends on more than attributes.
    """
    of_interception = "" if kind is Interception else "interception."
    names: list[str] = []
    for label in labels:
        if label in _INPUTS:
            names.append(of_interception + _INPUTS[label])
        elif label in _OWN_INPUTS:
            names.append(_OWN_INPUTS[label])
        elif label in FACT_LABELS:
            return None
        if label == "model":
            names += _MODEL_INPUTS.get(kind, ())
    return attrgetter(*names) if names else lambda fact: None


def once(fact: Any) -> Iterable[tuple[str, float]]:
    """Count each fact."""
    return (("", 1),)


def ends_in_flight(fact: InterceptionEnded) -> Iterable[tuple[str, float]]:
    """Count one less in flight."""
    return () if fact.in_background else (("", -1),)


def leaves_flight(fact: BackgroundResponse) -> Iterable[tuple[str, float]]:
    """Count one less in flight: nobody waits for the response."""
    return () if fact.is_further_id else (("", -1),)


def tokens(fact: TokenUsage) -> Iterable[tuple[str, float]]:
    """Count tokens by type."""
    counts = {
        "input": fact.input_tokens,
        "output": fact.output_tokens,
        "cache_read": fact.cache_read_input_tokens,
        "cache_write": fact.cache_write_input_tokens,
    }
    return [(kind, count) for kind, count in counts.items() if count]


def unknown_tokens(fact: TokenUsage) -> Iterable[tuple[str, float]]:
    """Count the calls whose tokens of a type are unknown."""
    return [(kind, 1) for kind in fact.unknown_counts]


def cost(fact: UsagePriced) -> Iterable[tuple[str, float]]:
    """Count the cost by its basis."""
    cost = fact.price.cost_nano_usd
    is_billed = fact.interception.credential_kind != "subscription"
    return () if cost is None else (("billed" if is_billed else "list_price", cost / _NANO),)


def provider_cost(fact: UsagePriced) -> Iterable[tuple[str, float]]:
    """Count the cost that the provider reports."""
    cost = fact.price.provider_cost_nano_usd
    return () if cost is None else (("", cost / _NANO),)


def token_details(fact: TokenUsage) -> Iterable[tuple[str, float]]:
    """Count the details of a usage by name."""
    return [
        (name, count)
        for name, count in fact.extra.items()
        if isinstance(count, int)
        and count > 0
        and name.endswith(_COUNTS)
        and name != UNEXPLAINED_TOKENS
    ]


def seconds(fact: InterceptionEnded) -> Iterable[tuple[str, float]]:
    """Observe the duration."""
    return () if fact.in_background else (("", fact.seconds),)


def seconds_to_first_byte(fact: InterceptionEnded) -> Iterable[tuple[str, float]]:
    """Observe the time to the first byte."""
    seconds = fact.seconds_to_first_byte
    return () if seconds is None else (("", seconds),)


def if_true(condition: Callable[[Any], bool]) -> Sampler:
    """Return a sampler that counts the facts for which a condition holds."""
    return lambda fact: (("", 1),) if condition(fact) else ()


def was_rate_limited(fact: InterceptionEnded) -> bool:
    """Return True if the provider refused for its rate limits."""
    return fact.http_status == 429 and fact.status is Status.FAILED
