"""Prepares facts for a store: turns them into statements, on the thread of a recorder.

Nothing of this runs on the event loop, so that its steps may be slow.
"""

from collections.abc import Callable, Iterable, Sequence

from aibridge_addon.facts import (
    Fact,
    HiddenTurns,
    Price,
    RequestContent,
    ResponseContent,
    TokenUsage,
    UsagePriced,
)
from aibridge_addon.prices import price_data
from aibridge_addon.prices.billed_call import billed_call
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.prices.recorded_price import recorded_price
from aibridge_addon.redaction import Redaction, redacted
from aibridge_addon.store.content import ContentStatements
from aibridge_addon.store.loop_calls import LoopCalls
from aibridge_addon.store.statements import Statement, statements, with_prices

type OnPriced = Callable[[Sequence[UsagePriced]], None]
"""Receives the prices of calls whose record was written; called on the recorder's thread."""


class Preparation:
    """Makes the statements of facts; used by one thread at a time."""

    def __init__(
        self,
        prices: PriceBook | None = None,
        on_priced: OnPriced | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        self.prices = prices
        """May be replaced at any time; None: calls are not priced."""
        self._on_priced = on_priced
        self.redaction = redaction or Redaction()
        self._content = ContentStatements(self.redaction)
        self._priced: list[UsagePriced] = []
        self.calls = LoopCalls()
        """Calls on event loops, made together when the record is written."""

    def warm_up(self) -> None:
        """Load what the first statements need."""
        if self.prices:
            price_data.load()

    def statements(self, facts: Iterable[Fact | HiddenTurns]) -> list[Statement]:
        """Return the statements of some facts, in their order."""
        plain: list[Fact | HiddenTurns] = []
        content: list[Statement] = []
        for fact in facts:
            if isinstance(fact, RequestContent | ResponseContent):
                content += self._content.of(fact)
            else:
                plain.append(redacted(fact, self.redaction))
        return [*content, *with_prices(statements(plain), self._price(plain))]

    def forget(self) -> None:
        """Forget what is stored, since the database may lack it."""
        self._content.forget()

    def written(self, *, send: bool = True) -> None:
        """Report the prices in the statements that were made last, since these are written.

        Without `send`, the caller has `calls` made, after calls of its own.
        """
        if self._on_priced is not None and self._priced:
            self._on_priced(self._priced)
        self._priced = []
        if send:
            self.calls.send()

    def _price(self, facts: Iterable[Fact | HiddenTurns]) -> dict[str, Price]:
        """Return the prices of all usages by their ids; a final usage replaces an early one."""
        book = self.prices
        if book is None:
            return {}
        usages = {fact.id: fact for fact in facts if isinstance(fact, TokenUsage)}
        prices = {id_: recorded_price(book, billed_call(usage)) for id_, usage in usages.items()}
        self._priced = [
            UsagePriced(usage=usage, price=prices[id_])
            for id_, usage in usages.items()
            if type(usage) is TokenUsage
        ]
        return prices
