"""The `Recorder` protocol: receives facts and stores them.

The option `aibridge_recorder` names a third-party recorder as `module:Class`; it is created without
arguments. Its methods run on the proxy's event loop, so they must neither block nor raise.
"""

import importlib
from collections.abc import Awaitable, Collection, Mapping
from typing import Protocol, cast, get_protocol_members

from aibridge_addon.budgets.book import BudgetBook
from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import (
    BackgroundResponse,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    ProcessSeen,
    RateLimitsSeen,
    RequestContent,
    ResponseContent,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    TunnelEnded,
    UserPrompt,
)
from aibridge_addon.store.errors import RecorderError

__all__ = ["Recorder", "RecorderError", "fact_handlers", "load"]


class Recorder(Protocol):
    """Stores facts. Subclass it and override the methods that you need."""

    # Each method returns explicitly: type checkers take empty methods of a protocol for abstract.

    def start(self) -> None:
        """Prepare for facts; called once, before the first fact.

        Raises:
            RecorderError: the configuration is wrong. The proxy then does not start.
        """
        return

    def record_interception(self, fact: Interception) -> None:
        """Record the start of an interception."""
        return

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        """Record the end of an interception."""
        return

    def record_background_response(self, fact: BackgroundResponse) -> None:
        """Record a background response, so that a later poll can end its interception."""
        return

    def record_token_usage(self, fact: TokenUsage) -> None:
        """Record the tokens of a model call."""
        return

    def record_token_usage_so_far(self, fact: TokenUsageSoFar) -> None:
        """Record the usage that a stream reported before its end.

        A `TokenUsage` with the same id replaces it later.
        """
        return

    def record_prompt_usage(self, fact: UserPrompt) -> None:
        """Record a prompt that a person typed."""
        return

    def record_tool_usage(self, fact: ToolUsage) -> None:
        """Record a tool call."""
        return

    def record_model_thought(self, fact: ModelThought) -> None:
        """Record a thought of a model."""
        return

    def record_rate_limits(self, fact: RateLimitsSeen) -> None:
        """Record the rate limits that a response stated, in place of earlier ones."""
        return

    def record_request_content(self, fact: RequestContent) -> None:
        """Record the body of an upstream request."""
        return

    def record_response_content(self, fact: ResponseContent) -> None:
        """Record the body of an upstream response."""
        return

    def record_process(self, fact: ProcessSeen) -> None:
        """Record a sign of life of a proxy process, in place of the one before."""
        return

    def record_tunnel(self, fact: TunnelEnded) -> None:
        """Record a tunnel to an AI service that is not read."""
        return

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Store turns of the inner loop that the client did not see."""
        return

    async def find_hidden_turns(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        """Return the contents of stored hidden turns of a scope, by key."""
        return {}

    async def find_background_response(
        self, provider_name: str, response_id: str
    ) -> BackgroundResponse | None:
        """Return the record of a background response that has not ended yet."""
        return None

    def kept(self) -> Awaitable[bool]:
        """Wait until everything recorded so far is safe from a crash.

        The result is False if that could not be achieved. The end of each response waits for it.
        """
        return _recorded()

    def budget_book(self) -> BudgetBook | None:
        """Return the budget book of the store; None, the default: budgets are not supported."""
        return None

    @property
    def available(self) -> bool:
        """True if facts currently reach their store."""
        return True

    def close(self) -> None:
        """Store what is pending and shut down; called once, after the last fact. May block."""
        return


async def _recorded() -> bool:
    return True


def fact_handlers(recorder: Recorder) -> Handlers:
    """Return the recorder's methods by the type of the facts that they record."""
    return {
        Interception: recorder.record_interception,
        InterceptionEnded: recorder.record_interception_ended,
        BackgroundResponse: recorder.record_background_response,
        TokenUsage: recorder.record_token_usage,
        TokenUsageSoFar: recorder.record_token_usage_so_far,
        UserPrompt: recorder.record_prompt_usage,
        ToolUsage: recorder.record_tool_usage,
        ModelThought: recorder.record_model_thought,
        RequestContent: recorder.record_request_content,
        ResponseContent: recorder.record_response_content,
        RateLimitsSeen: recorder.record_rate_limits,
        ProcessSeen: recorder.record_process,
        TunnelEnded: recorder.record_tunnel,
    }


def load(name: str) -> Recorder:
    """Create the recorder that `module:Class` names.

    Raises:
        RecorderError: it cannot be imported or created, or lacks methods of `Recorder`.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise RecorderError(
            f"{name!r} is not of the form module:Class, such as my_company.audit:Recorder"
        )
    try:
        made = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # the edge: third-party code
        raise RecorderError(f"cannot create the recorder {name!r}: {error}") from error
    if missing := sorted(m for m in get_protocol_members(Recorder) if not hasattr(made, m)):
        raise RecorderError(
            f"{name!r} is not a recorder: it lacks {', '.join(missing)};"
            f" subclass {Recorder.__module__}.{Recorder.__name__}"
        )
    return cast(Recorder, made)
