"""Facts: the frozen records of requests and responses, each created in one place.

`fact_bus` delivers a fact to its subscribers (recorder, metrics, …); nobody computes it again.
Times are UTC, ISO 8601 with microseconds; ids are UUIDv7, so they sort by time.
"""

from aibridge_addon.facts.fact import Fact, RequestFact
from aibridge_addon.facts.ids import (
    derived_id,
    id_of_day,
    milliseconds,
    new_id,
    now,
    this_process_id,
)
from aibridge_addon.facts.processes import (
    ProcessSeen,
)
from aibridge_addon.facts.readings import (
    FREE,
    NOTHING_SPOKEN,
    PRICING,
    REQUESTED,
    UNEXPLAINED_TOKENS,
    ProviderError,
    RequestFacts,
    RequestKind,
    ResponseFacts,
    SpokenInput,
    Thought,
    ThoughtSource,
    ToolCall,
    Usage,
)
from aibridge_addon.facts.records import (
    BackgroundResponse,
    CredentialKind,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    Price,
    RateLimitsSeen,
    RequestContent,
    ResponseBegan,
    ResponseContent,
    Status,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    UsagePriced,
    UserPrompt,
)
from aibridge_addon.facts.sends import UNPROCESSED, MovedAway, SendFailed, ServedElsewhere
from aibridge_addon.facts.token_counts import TokenCounts, known_sum, unknown_counts
from aibridge_addon.facts.tunnels import TunnelEnded

__all__ = [
    "FREE",
    "NOTHING_SPOKEN",
    "PRICING",
    "REQUESTED",
    "ProviderError",
    "RequestFacts",
    "RequestKind",
    "ResponseFacts",
    "SpokenInput",
    "Thought",
    "ThoughtSource",
    "ToolCall",
    "UNEXPLAINED_TOKENS",
    "UNPROCESSED",
    "Usage",
    "BackgroundResponse",
    "CredentialKind",
    "Fact",
    "HiddenTurns",
    "Interception",
    "InterceptionEnded",
    "ModelThought",
    "MovedAway",
    "Price",
    "ProcessSeen",
    "RateLimitsSeen",
    "ResponseBegan",
    "RequestContent",
    "RequestFact",
    "ResponseContent",
    "SendFailed",
    "ServedElsewhere",
    "Status",
    "TokenCounts",
    "TokenUsage",
    "TokenUsageSoFar",
    "ToolUsage",
    "TunnelEnded",
    "UsagePriced",
    "UserPrompt",
    "milliseconds",
    "new_id",
    "now",
    "derived_id",
    "id_of_day",
    "known_sum",
    "this_process_id",
    "unknown_counts",
]
