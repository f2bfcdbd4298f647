"""The `Recorder` protocol: receives facts and stores them.

The option `aibridge_recorder` names a third-party recorder as `module:Class`; it is created without
arguments. Its methods run on the proxy's event loop, so they must neither block nor raise.
"""

import importlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol, cast, get_protocol_members

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    UserPrompt,
)
from aibridge_addon.store.errors import RecorderError

__all__ = ["Recorder", "RecorderError", "load", "subscriber"]


class Recorder(Protocol):
    """Stores facts. Subclass it and override the methods that you need."""

    def start(self) -> None:
        """Prepare for facts; called once, before the first fact.

        Raises:
            RecorderError: the configuration is wrong. The proxy then does not start.
        """

    def record_interception(self, fact: Interception) -> None:
        """Record the start of an interception."""

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        """Record the end of an interception."""

    def record_background_response(self, fact: BackgroundResponse) -> None:
        """Record a background response, so that a later poll can end its interception."""

    def record_token_usage(self, fact: TokenUsage) -> None:
        """Record the tokens of a model call."""

    def record_token_usage_so_far(self, fact: TokenUsageSoFar) -> None:
        """Record the usage that a stream reported before its end.

        A `TokenUsage` with the same id replaces it later.
        """

    def record_prompt_usage(self, fact: UserPrompt) -> None:
        """Record a prompt that a person typed."""

    def record_tool_usage(self, fact: ToolUsage) -> None:
        """Record a tool call."""

    def record_model_thought(self, fact: ModelThought) -> None:
        """Record a thought of a model."""

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Store turns of the inner loop that the client did not see."""

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

    @property
    def available(self) -> bool:
        """True if facts currently reach their store."""
        return True

    def close(self) -> None:
        """Store what is pending and shut down; called once, after the last fact. May block."""


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
    }


def subscriber(recorder: Recorder) -> Callable[[Fact], None]:
    """Return a function that passes each fact to its method of the recorder."""
    methods = fact_handlers(recorder)
    return lambda fact: methods[type(fact)](fact)


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
