"""The union of all facts that are published."""

from aibridge_addon.facts.processes import ProcessSeen
from aibridge_addon.facts.records import (
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    ModelThought,
    RateLimitsSeen,
    RequestContent,
    ResponseBegan,
    ResponseContent,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    UsagePriced,
    UserPrompt,
)
from aibridge_addon.facts.sends import MovedAway, SendFailed, ServedElsewhere
from aibridge_addon.facts.tunnels import TunnelEnded

type RequestFact = (
    Interception
    | InterceptionEnded
    | BackgroundResponse
    | TokenUsage
    | TokenUsageSoFar
    | UsagePriced
    | UserPrompt
    | ToolUsage
    | ModelThought
    | RateLimitsSeen
    | ResponseBegan
    | SendFailed
    | MovedAway
    | ServedElsewhere
    | RequestContent
    | ResponseContent
)
"""A fact of one request."""
type Fact = RequestFact | ProcessSeen | TunnelEnded
