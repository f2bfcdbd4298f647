"""Facts: the frozen records of requests and responses, each created in one place.

`fact_bus` delivers a fact to its subscribers (recorder, metrics, …); nobody computes it again.
Times are UTC, ISO 8601 with microseconds; ids are UUIDv7, so they sort by time.
"""

from aibridge_addon.facts.readings import (
    UNEXPLAINED_TOKENS,
    ProviderError,
    RequestFacts,
    RequestKind,
    ResponseFacts,
    Thought,
    ThoughtSource,
    ToolCall,
    Usage,
)
from aibridge_addon.facts.records import (
    BackgroundResponse,
    CredentialKind,
    Fact,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    RateLimitsSeen,
    RequestContent,
    ResponseContent,
    Status,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    UserPrompt,
    milliseconds,
    new_id,
    now,
)

__all__ = [
    "ProviderError",
    "RequestFacts",
    "RequestKind",
    "ResponseFacts",
    "Thought",
    "ThoughtSource",
    "ToolCall",
    "UNEXPLAINED_TOKENS",
    "Usage",
    "BackgroundResponse",
    "CredentialKind",
    "Fact",
    "HiddenTurns",
    "Interception",
    "InterceptionEnded",
    "ModelThought",
    "RateLimitsSeen",
    "RequestContent",
    "ResponseContent",
    "Status",
    "TokenUsage",
    "TokenUsageSoFar",
    "ToolUsage",
    "UserPrompt",
    "milliseconds",
    "new_id",
    "now",
]
