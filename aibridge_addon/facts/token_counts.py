"""The four token counts of a model call, each of which may be unknown. Unknown is never zero."""

from collections.abc import Mapping
from typing import Protocol


class TokenCounts(Protocol):
    """A model call with the tokens that its provider states."""

    @property
    def input_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def cache_read_input_tokens(self) -> int | None: ...
    @property
    def cache_write_input_tokens(self) -> int | None: ...


COUNTS: Mapping[str, str] = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_write_input_tokens": "cache_write",
}
"""Short names of the counts by their columns."""


def unknown_counts(call: TokenCounts) -> tuple[str, ...]:
    """Return the short names of the counts that a call lacks.

    A call that has neither input nor output is billed in another unit, and lacks none.
    """
    if call.input_tokens is None and call.output_tokens is None:
        return ()
    return tuple(name for column, name in COUNTS.items() if getattr(call, column) is None)


def known_sum(*counts: int | None) -> int | None:
    """Add up counts; the sum is unknown if one of them is."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
