"""`SharedLimits`: limits that all processes count together in the store (`shared = true`).

While the store does not respond, each process enforces its share of them, as of other limits.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.limits.book import Lack, LimitBook, LimitChange
from aibridge_addon.access.limits.counters import Shortage
from aibridge_addon.access.limits.rules import Bound, Limit
from aibridge_addon.access.limits.running import Amounts, RunningRequest, Scoped
from aibridge_addon.access.limits.share import Share
from aibridge_addon.access.policies.rate_limits import (
    OnLimited,
    RateLimits,
    refusal_of,
    tokens_of,
)
from aibridge_addon.budgets.book import BookUnavailableError
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.facts import BackgroundResponse, InterceptionEnded, TokenUsage, new_id

_WHOLE = Share()


class SharedLimits:
    """Admits requests to the shared limits; lives as long as the proxy."""

    def __init__(self, on_limited: OnLimited, open_book: Callable[[], LimitBook | None]) -> None:
        """Open the book by a function that is called once there are shared limits."""
        self.local = RateLimits(on_limited)
        """Enforces this process's share while the book is unavailable."""
        self._on_limited = on_limited
        self._open_book = open_book
        self._book: LimitBook | None = None
        self._running: dict[str, RunningRequest] = {}

    def apply(self, limits: tuple[Limit, ...]) -> None:
        """Use other limits.

        Raises:
            SettingsError: there are shared limits, and the store cannot count them.
        """
        shared = tuple(limit for limit in limits if limit.is_shared)
        if shared and self._book is None:
            self._book = self._open_book()
        if shared and self._book is None:
            raise SettingsError(
                f"[[limits]] {shared[0].name!r}: shared = true needs a PostgreSQL database;"
                " see aibridge_db"
            )
        self.local.limits = shared

    @property
    def is_available(self) -> bool:
        """True if the limits are counted together."""
        return self._book is not None and self._book.is_available

    def close(self) -> None:
        """Stop counting."""
        if self._book:
            self._book.close()

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Handlers of the facts that end what requests occupy."""
        return {
            TokenUsage: self._on_usage,
            InterceptionEnded: self._on_end,
            BackgroundResponse: self._on_background,
        }

    def counts(self, asked: Asked) -> bool:
        """Return whether a shared limit counts a request."""
        return bool(self.local.limits) and bool(self._measure(asked)[0])

    async def take(self, asked: Asked) -> Refusal | None:
        """Count a request in its limits, or return its refusal."""
        assert self._book
        running = RunningRequest(*self._measure(asked))
        changes = _taken(asked, running)
        id_ = asked.interception.id if asked.interception else new_id()
        try:
            lack = await self._book.take(id_, changes)
        except BookUnavailableError:
            return self._take_share(asked)
        if lack is not None:
            shortage = _shortage_of(lack, changes[lack.index], running.scoped)
            self._on_limited(shortage.limit.name, shortage.bound)
            return refusal_of(shortage)
        self._begin(asked, running)
        return None

    def count(self, asked: Asked) -> None:
        """Count a request that cannot be refused any more."""
        if not self.counts(asked):
            return
        assert asked.interception
        assert self._book
        running = RunningRequest(*self._measure(asked))
        self._begin(asked, running)
        self._book.change(asked.interception.id, _taken(asked, running))

    def give_back(self, asked: Asked) -> None:
        """Give back all that a request took which is not sent after all."""
        id_ = asked.interception.id if asked.interception else ""
        if running := self._running.pop(id_, None):
            amounts: Amounts = {bound: -taken for bound, taken in running.estimated.items()}
            self._change(id_, running, amounts)
        elif asked.is_unread_call and self._book and self._book.is_available:
            self._book.change(id_, _changes(self._measure(asked)[0], {"requests": -1}))
        else:
            self.local.cancel(asked)

    def _measure(self, asked: Asked) -> tuple[tuple[Scoped, ...], Amounts]:
        """Return the scopes and estimate of a request; none if it is counted already."""
        if asked.interception and asked.interception.id in self._running:
            return (), {}
        return self.local.measure(asked)

    def _take_share(self, asked: Asked) -> Refusal | None:
        refusal = self.local.check(asked)
        if refusal is None:
            self.local.admit(asked)
        return refusal

    def _begin(self, asked: Asked, running: RunningRequest) -> None:
        if asked.interception:
            self._running[asked.interception.id] = running
        self.local.note_input(asked, running.scoped)

    def _on_usage(self, usage: TokenUsage) -> None:
        self.local.on_usage(usage)
        if running := self._running.get(usage.interception.id):
            running.add_usage(tokens_of(usage))

    def _on_end(self, ended: InterceptionEnded) -> None:
        self.local.on_end(ended)
        self._end(ended.interception.id, is_known=not ended.usage_is_unknown)

    def _on_background(self, background: BackgroundResponse) -> None:
        self.local.on_background(background)
        self._end(background.interception.id, is_known=False)

    def _end(self, interception_id: str, *, is_known: bool) -> None:
        if running := self._running.pop(interception_id, None):
            self._change(interception_id, running, running.excess if is_known else {})

    def _change(self, interception_id: str, running: RunningRequest, amounts: Amounts) -> None:
        """Free the slots of a request, and change what it took otherwise."""
        assert self._book
        changes = _changes(running.scoped, {**amounts, "open_requests": -1})
        if changes:
            self._book.change(interception_id, changes)


def _taken(asked: Asked, running: RunningRequest) -> list[LimitChange]:
    """Return what a request takes: no slot if it is not read, since no end would free it."""
    slots: Amounts = {} if asked.is_unread_call else {"open_requests": 1}
    return _changes(running.scoped, {**running.estimated, **slots})


def _changes(scoped: tuple[Scoped, ...], amounts: Amounts) -> list[LimitChange]:
    """Return the changes of amounts that limits count; each scope of a limit counts once."""
    return [
        LimitChange(limit=limit.name, scope=scope, bound=bound, most=most, amount=amounts[bound])
        for limit, scope in dict.fromkeys(scoped)
        for bound, most in _bounds_of(limit).items()
        if amounts.get(bound)
    ]


def _bounds_of(limit: Limit) -> Mapping[Bound, int]:
    most = limit.open_requests
    return limit.rates if most is None else {"open_requests": most, **limit.rates}


def _shortage_of(lack: Lack, change: LimitChange, scoped: tuple[Scoped, ...]) -> Shortage:
    limit = next(limit for limit, _ in scoped if limit.name == change.limit)
    return Shortage(
        limit=limit, scope=change.scope, bound=change.bound, seconds=lack.seconds, share=_WHOLE
    )
