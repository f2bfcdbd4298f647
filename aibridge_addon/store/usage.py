"""Usage totals: what stores return and `aibridge usage` and `aibridge run` print."""

from dataclasses import dataclass
from typing import Literal, get_args

type Grouping = Literal["actor", "model", "client", "session", "day"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping.__value__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Selects and groups interceptions."""

    since: str = ""
    """Only interceptions that started at or after this time, as recorded; empty: all."""
    by: Grouping = "model"
    run: str | None = None
    """Only interceptions of the program that `aibridge run` marked with this value; None: all."""


@dataclass(slots=True)
class UsageTotal:
    """Usage of all interceptions in one group."""

    name: str
    """Name of the group, such as a model."""
    requests: int = 0
    failed: int = 0
    """Requests that did not complete."""
    input: int = 0
    """Input tokens, without those read from or written to a cache."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    latest: str = ""
    """Start of the newest request."""
    without_usage: int = 0
    """Requests that may have been billed and whose responses reported no usage."""
    chats_without_usage: int = 0
    """Those of them that used Chat Completions, which can be asked to report usage."""

    @property
    def is_unknown(self) -> bool:
        """True if no tokens are known, so that they must not be shown as zero."""
        tokens = self.input or self.cache_read or self.cache_write or self.output
        return self.without_usage > 0 and not tokens
