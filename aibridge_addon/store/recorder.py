"""Where facts are kept. `Recorder` is the contract; SQLite is the default.

A recorder of your own is named by the option `aibridge_recorder` as `module:Class`; it is made
without arguments. Its methods are called on the proxy's event loop: they must neither block nor
raise, so do the work elsewhere and say by `kept` when it is done.
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
    """Keeps facts. Subclass it and override what you need."""

    def start(self) -> None:
        """Get ready; called once, before the first fact.

        Raises:
            RecorderError: it cannot work as configured. This stops the start of the proxy.
        """

    def record_interception(self, fact: Interception) -> None:
        """Keep the start of an interception."""

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        """Keep the end of an interception."""

    def record_background_response(self, fact: BackgroundResponse) -> None:
        """Keep what is needed to end an interception by a later poll."""

    def record_token_usage(self, fact: TokenUsage) -> None:
        """Keep what a response cost."""

    def record_token_usage_so_far(self, fact: TokenUsageSoFar) -> None:
        """Keep what a running stream told of its cost, until `record_token_usage` has its id."""

    def record_prompt_usage(self, fact: UserPrompt) -> None:
        """Keep what the person said."""

    def record_tool_usage(self, fact: ToolUsage) -> None:
        """Keep a tool call."""

    def record_model_thought(self, fact: ModelThought) -> None:
        """Keep a thought."""

    def record_hidden_turns(self, turns: HiddenTurns) -> None:
        """Keep turns of the inner loop that a client did not see."""

    async def find_hidden_turns(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        """Return the contents of hidden turns by key, of those that are kept in a scope."""
        return {}

    async def find_background_response(
        self, provider_name: str, response_id: str
    ) -> BackgroundResponse | None:
        """Return what was kept of a response whose end nobody has seen yet."""
        return None

    def kept(self) -> Awaitable[bool]:
        """Wait until all that was recorded before is safe from a crash; False if it is not."""
        return _at_once()

    @property
    def available(self) -> bool:
        """Whether facts reach their store at this moment."""
        return True

    def close(self) -> None:
        """Keep what is left, and end; called once, after the last fact. May block."""


async def _at_once() -> bool:
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
    """Make the recorder that `module:Class` names.

    Raises:
        RecorderError: there is no such thing.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise RecorderError(f"{name!r} should be module:Class, such as my_company.audit:Recorder")
    try:
        made = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # the edge: somebody else's code
        raise RecorderError(f"{name!r} cannot be made: {error}") from error
    if missing := sorted(m for m in get_protocol_members(Recorder) if not hasattr(made, m)):
        raise RecorderError(
            f"{name!r} is no recorder: it has no {', '.join(missing)};"
            f" subclass {Recorder.__module__}.{Recorder.__name__}"
        )
    return cast(Recorder, made)
