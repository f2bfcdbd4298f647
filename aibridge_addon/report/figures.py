"""`Figures`: the counts, tokens and money of a set of requests; the same on every surface."""

from dataclasses import dataclass

TOKENS = ("input", "cache_read", "cache_write", "output")
"""Fields with sums of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Sums over a set of requests. Money is in nano-dollars; None is unknown, never zero."""

    requests: int = 0
    """All requests, whatever their outcome."""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    interrupted: int = 0
    open: int = 0
    """Requests that have not ended yet."""

    calls: int = 0
    """Billed model calls with reported usage; a request can have several."""
    input: int = 0
    """Input tokens, without those read from or written to a cache."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    incomplete: int = 0
    """Requests with a model call that reported only some of its tokens: the sums lack the rest."""
    without_usage: int = 0
    """Requests that may have been billed and whose responses reported no usage."""
    chats_without_usage: int = 0
    """Those of them that used Chat Completions, which can be asked to report usage."""

    cost_nano_usd: int | None = None
    """Cost of the priced calls, without those on a subscription; None: nothing is priced."""
    list_price_nano_usd: int | None = None
    """List price of the priced calls on a subscription, which are not billed; None: no calls."""
    saved_nano_usd: int | None = None
    """Money that caches saved: cost without caches less cost, where both are known."""
    provider_cost_nano_usd: int | None = None
    """Cost as the providers report it; None: no provider reported any."""
    unpriced: int = 0
    """Requests with a billed call that has no price, including those without usage."""
    unpriced_models: tuple[str, ...] = ()
    """Requested models of the unpriced requests, most requests first; the list may be cut."""
    unpriced_reasons: tuple[str, ...] = ()
    """Reasons why they have no price, as far as they were looked up."""

    latest: str = ""
    """Start of the newest request; empty if there are no requests."""

    @property
    def not_completed(self) -> int:
        """Requests that ended without completing."""
        return self.failed + self.cancelled + self.refused + self.interrupted

    @property
    def tokens_unknown(self) -> bool:
        """True if no tokens are known, so that they must not be shown as zero."""
        return not self._tokens and (
            self.without_usage > 0 or self.incomplete > 0 or self.calls > 0
        )

    @property
    def billed_otherwise(self) -> bool:
        """True if all calls are free of charge, or billed in other units, as seconds of audio."""
        return self.tokens_unknown and not self.without_usage and not self.incomplete

    @property
    def _tokens(self) -> int:
        return self.input or self.cache_read or self.cache_write or self.output

    def known(self, tokens: int) -> int | None:
        """Return a sum of tokens; None for a zero that may only be due to missing counts."""
        is_unknown = self.tokens_unknown or (self.incomplete > 0 and not tokens)
        return None if is_unknown else tokens

    @property
    def total_input(self) -> int:
        """All input tokens, whether cached or not."""
        return self.input + self.cache_read + self.cache_write

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of the input tokens that came from a cache; None if that is unknown."""
        is_unknown = not self.total_input or self.known(self.cache_read) is None
        return None if is_unknown else self.cache_read / self.total_input
