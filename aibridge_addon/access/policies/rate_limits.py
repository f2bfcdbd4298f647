"""Policy: the rate and concurrency limits of the config file (`[[limits]]`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.limits.counters import LimitCounters, Shortage
from aibridge_addon.access.limits.rules import Bound, Limit
from aibridge_addon.access.limits.running import Amounts, Scoped
from aibridge_addon.access.matching_rules import MatchingRules
from aibridge_addon.budgets.tokens import (
    InputEstimates,
    OutputEstimates,
    conversation_of,
    input_tokens,
)
from aibridge_addon.facts import BackgroundResponse, InterceptionEnded, TokenUsage, known_sum

LIMITED = "rate_limit_exceeded"
"""Reason of the refusals."""
_RETRY_OPEN_SECONDS = 5.0
"""Time after which a client should retry if too many requests are open."""
_UNITS: Mapping[Bound, str] = {
    "requests": "requests per minute",
    "input_tokens": "input tokens per minute",
    "output_tokens": "output tokens per minute",
    "open_requests": "requests at the same time",
}

type OnLimited = Callable[[str, Bound], None]
"""Receives the name of a limit that refused a request, and its bound without room."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The request that was asked about last: it is asked about several times."""

    asked: Asked
    scoped: tuple[Scoped, ...]
    amounts: Amounts


class RateLimits:
    """Refuses requests above a rate, and above a number of open requests.

    It lives as long as the proxy; `limits` is replaced when the settings change.
    """

    _matching: MatchingRules[Limit]
    _last: _Last | None
    _has_queues: bool
    _counts_output: bool

    def __init__(self, on_limited: OnLimited, counters: LimitCounters | None = None) -> None:
        self.limits = ()
        self._on_limited = on_limited
        self.counters = counters or LimitCounters()
        self._inputs = InputEstimates()
        self._outputs = OutputEstimates()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits of this moment."""
        return self._matching.all

    @limits.setter
    def limits(self, limits: tuple[Limit, ...]) -> None:
        self._matching = MatchingRules(limits, by_every_model=True)
        self._last = None
        self._has_queues = any(limit.queue for limit in limits)
        self._counts_output = any("output_tokens" in limit.rates for limit in limits)

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request for which a limit has no room.

        The further upstream requests of an interception belong to its admission: their tokens
        count, but a limit never breaks off an inner loop.
        """
        shortage = self.find_shortage(asked)
        if shortage is None:
            return None
        self._on_limited(shortage.limit.name, shortage.bound)
        return refusal_of(shortage)

    def find_shortage(self, asked: Asked) -> Shortage | None:
        """Return the first bound of a limit that has no room for a request."""
        if not self._counts(asked):
            return None
        scoped, amounts = self._amounts(asked)
        return self.counters.find_shortage(scoped, amounts) if scoped else None

    def has_queue(self, asked: Asked) -> bool:
        """Return whether a request may wait for room in a limit."""
        if not self._has_queues or not self._counts(asked):
            return False
        return any(limit.queue for limit, _ in self._amounts(asked)[0])

    def cancel(self, asked: Asked) -> None:
        """Give back all that a request took which is not sent after all."""
        if asked.interception:
            self.counters.cancel(asked.interception.id)
        elif self._counts(asked):
            self.counters.debit(self._amounts(asked)[0], {"requests": -1})

    def admit(self, asked: Asked) -> None:
        """Count a request that no policy has refused."""
        if not self._counts(asked) or not (found := self._amounts(asked))[0]:
            return
        scoped, amounts = found
        if asked.interception:
            self.counters.admit(asked.interception.id, scoped, amounts)
            self.note_input(asked, scoped)
        else:
            self.counters.debit(scoped, amounts)

    def measure(self, asked: Asked) -> tuple[tuple[Scoped, ...], Amounts]:
        """Return the scopes in which a request counts, and its estimate; none if it does not."""
        return self._amounts(asked) if self._counts(asked) else ((), {})

    def note_input(self, asked: Asked, scoped: tuple[Scoped, ...]) -> None:
        """Note the input of an admitted request, of which its session's next repeats most."""
        if asked.route.bills_later:
            return
        if asked.interception and _bounds("input_tokens", scoped):
            tokens = input_tokens(asked.content() or b"")
            self._inputs.add(conversation_of(asked.interception), tokens)

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of the facts that end what requests occupy."""
        return {
            TokenUsage: self.on_usage,
            InterceptionEnded: self.on_end,
            BackgroundResponse: self.on_background,
        }

    def _counts(self, asked: Asked) -> bool:
        if not self._matching.all:
            return False
        interception = asked.interception
        if interception is None or not asked.is_recorded:
            return asked.is_unread_call
        return not self.counters.is_running(interception.id)

    def _amounts(self, asked: Asked) -> tuple[tuple[Scoped, ...], Amounts]:
        """Return the scopes of a request, and its estimate."""
        last = self._last
        if last is None or last.asked is not asked:
            limits = self._matching.of(asked)
            scoped = tuple([(limit, scope) for limit in limits for scope in limit.scopes(asked)])
            amounts = self._estimate(asked, scoped) if scoped else {}
            last = self._last = _Last(asked, scoped, amounts)
        return last.scoped, last.amounts

    def _estimate(self, asked: Asked, scoped: tuple[Scoped, ...]) -> Amounts:
        if asked.is_unread_call or asked.route.bills_later:  # a batch runs for hours
            return {"requests": 1, "input_tokens": 0, "output_tokens": 0}
        amounts: Amounts = {"requests": 1}
        if _bounds("output_tokens", scoped):
            amounts["output_tokens"] = self._outputs.likely(asked.model)
        if _bounds("input_tokens", scoped) and asked.interception:
            conversation = conversation_of(asked.interception)
            tokens = input_tokens(asked.content() or b"")
            amounts["input_tokens"] = self._inputs.uncached(conversation, tokens)
        return amounts

    def on_usage(self, usage: TokenUsage) -> None:
        """Note the tokens of a response."""
        if self._counts_output and usage.output_tokens is not None:
            self._outputs.add(usage.interception.model, usage.output_tokens)
        if self.counters.is_running(usage.interception.id):
            self.counters.add_usage(usage.interception.id, tokens_of(usage))

    def on_end(self, ended: InterceptionEnded) -> None:
        """Free the slots of a request, and replace its estimated tokens by those reported."""
        self.counters.end(ended.interception.id, is_known=not ended.usage_is_unknown)

    def on_background(self, background: BackgroundResponse) -> None:
        """Free the slots: the client's request has ended, and nobody may ever poll the response."""
        self.counters.end(background.interception.id, is_known=False)


def _bounds(bound: Bound, scoped: tuple[Scoped, ...]) -> bool:
    """Return whether a limit bounds an amount."""
    return any(bound in limit.rates for limit, _ in scoped)


def tokens_of(usage: TokenUsage) -> Mapping[Bound, int | None]:
    """Return the tokens that limits count; None is unknown. None at all for other units."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return {}
    return {
        "input_tokens": known_sum(usage.input_tokens, usage.cache_write_input_tokens),
        "output_tokens": usage.output_tokens,
    }


def refusal_of(shortage: Shortage) -> Refusal:
    """Return the refusal of a request for which a bound has no room."""
    limit, bound = shortage.limit, shortage.bound
    most = limit.open_requests if bound == "open_requests" else limit.rates[bound]
    per = "" if limit.per == "total" else f" for {limit.per} {shortage.scope}"
    here = f" ({_part_of(shortage)})" if shortage.share.processes > 1 else ""
    seconds = _RETRY_OPEN_SECONDS if shortage.seconds is None else shortage.seconds
    return Refusal(
        status=429,
        reason=LIMITED,
        message=f"aibridge: limit {limit.name!r} allows {most:,} {_UNITS[bound]}{per}{here}.",
        retry_after=seconds,
    )


def _part_of(shortage: Shortage) -> str:
    """Word the part of a limit that this process enforces."""
    limit, bound, share = shortage.limit, shortage.bound, shortage.share
    if bound == "open_requests":
        part = f"{share.slots_of(limit.open_requests or 0):,}"
    else:
        part = f"{share.rate_of(limit.rates[bound]):,.1f}".removesuffix(".0")
    return f"{part} in this one of {share.processes} processes"
