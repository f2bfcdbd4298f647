"""Runs the injected calls of a turn in parallel; each of them gets a result, even if it fails."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from aibridge_addon.formats.central_tool import CentralTool, ToolResult, error_result
from aibridge_addon.formats.tool_protocol import InjectedCall, ToolFormat, Turn, call_arguments
from aibridge_addon.raw_json import JSON, encode
from aibridge_addon.tools.attempts import INTERRUPTED, Attempt, Call, Step
from aibridge_addon.tools.waiting import all_of, cancelled

type CallTool = Callable[[CentralTool, Mapping[str, JSON]], Awaitable[ToolResult]]


class CallObserver(Protocol):
    """Receives each call and its result."""

    def invoked(
        self,
        tool: CentralTool,
        call: InjectedCall,
        result: ToolResult,
        response_id: str | None,
        seconds: float | None,
    ) -> None:
        """Record the call of a central tool; without `seconds`, it was not run."""


class TurnCalls:
    """Runs the calls of one interception's turns, unless its attempt has their results.

    `response_id` names the response with the turn. Calls are not run if `refusal` is not empty;
    it is then their result.
    """

    def __init__(
        self,
        *,
        tool_format: ToolFormat,
        offered: Sequence[CentralTool],
        attempt: Attempt,
        call_tool: CallTool,
        observer: CallObserver,
        give_up_at: float,
    ) -> None:
        self._format = tool_format
        self._tools = {tool.name: tool for tool in offered}
        self._attempt = attempt
        self._call_tool = call_tool
        self._observer = observer
        self._give_up_at = give_up_at

    @property
    def names(self) -> frozenset[str]:
        """The names of the offered tools."""
        return frozenset(self._tools)

    def interrupted(self, turn: Turn) -> Step:
        """Return the step of a turn whose calls are interrupted."""
        return self._step(turn, [INTERRUPTED] * len(turn.calls))

    async def run(self, turn: Turn, response_id: str | None, refusal: str) -> Step:
        """Run the calls of a turn; after a cancellation, ended calls keep their results."""
        results = [INTERRUPTED] * len(turn.calls)

        async def run_one(place: int, call: InjectedCall, key: Call) -> None:
            if self._attempt.has_call(key):
                results[place] = await self._attempt.result(key)
            else:
                results[place] = await self._result(call, response_id, refusal)

        tasks = [
            asyncio.ensure_future(run_one(place, call, key))
            for place, (call, key) in enumerate(_numbered(turn.calls))
        ]
        try:
            with suppress(asyncio.CancelledError):  # no request waits for it any more
                await asyncio.gather(*tasks)
        finally:
            await cancelled(tasks)
        return self._step(turn, results)

    async def run_beside_client_calls(
        self, turn: Turn, response_id: str | None, refusal: str
    ) -> list[JSON]:
        """Run the injected calls of a turn with client calls; return their result items."""
        numbered = _numbered(turn.calls)
        self._attempt.start_calls(
            {key: partial(self._result, call, response_id, refusal) for call, key in numbered}
        )
        results = await all_of([self._attempt.result(key) for _, key in numbered])
        return self._format.result_items(list(zip(turn.calls, results, strict=True)))

    def _step(self, turn: Turn, results: Sequence[ToolResult]) -> Step:
        items = self._format.result_items(list(zip(turn.calls, results, strict=True)))
        return Step(items=turn.items, results=tuple(items))

    async def _result(
        self, call: InjectedCall, response_id: str | None, refusal: str
    ) -> ToolResult:
        tool = self._tools[call.name]
        arguments = call_arguments(call.arguments)
        seconds = None
        if refusal:
            result = error_result(refusal)
        elif arguments is None:
            result = error_result("The arguments are not a JSON object.")
        else:
            started = time.monotonic()
            result = await self._call(tool, arguments)
            seconds = time.monotonic() - started
        self._observer.invoked(tool, call, result, response_id, seconds)
        return result

    async def _call(self, tool: CentralTool, arguments: Mapping[str, JSON]) -> ToolResult:
        try:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + self._give_up_at - time.monotonic()
            ):
                return await self._call_tool(tool, arguments)
        except TimeoutError:
            return error_result("There was no time left for this call.")


def _numbered(calls: Sequence[InjectedCall]) -> list[tuple[InjectedCall, Call]]:
    """Give each call a key made of its tool and arguments; ids differ between attempts."""
    counts: Counter[str] = Counter()
    numbered: list[tuple[InjectedCall, Call]] = []
    for call in calls:
        name = f"{call.name} {encode(call.arguments)}"
        numbered.append((call, (name, counts[name])))
        counts[name] += 1
    return numbered
