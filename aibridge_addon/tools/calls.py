"""Runs the injected calls of a turn, all at once; each of them has a result, whatever happens."""

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
    """Learns of the calls."""

    def invoked(
        self, tool: CentralTool, call: InjectedCall, result: ToolResult, response_id: str | None
    ) -> None:
        """A central tool was called."""


class TurnCalls:
    """Runs the calls of one interception's turns, unless its attempt has their results.

    `response_id` is of the answer that has the turn; `refusal`, if it is not empty, is what calls
    get instead of being run.
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
        """The names whose calls are ours."""
        return frozenset(self._tools)

    def interrupted(self, turn: Turn) -> Step:
        """Return what a turn comes to whose calls are cut short."""
        return self._step(turn, [INTERRUPTED] * len(turn.calls))

    async def run(self, turn: Turn, response_id: str | None, refusal: str) -> Step:
        """Run the calls of a turn; if that is cancelled, those that have results keep them."""
        results = [INTERRUPTED] * len(turn.calls)

        async def run_one(place: int, call: InjectedCall, made: Call) -> None:
            if self._attempt.has_call(made):
                results[place] = await self._attempt.result(made)
            else:
                results[place] = await self._result(call, response_id, refusal)

        tasks = [
            asyncio.ensure_future(run_one(place, call, made))
            for place, (call, made) in enumerate(_numbered(turn.calls))
        ]
        try:
            with suppress(asyncio.CancelledError):  # nobody waits for it any more
                await asyncio.gather(*tasks)
        finally:
            await cancelled(tasks)
        return self._step(turn, results)

    async def run_beside_client_calls(
        self, turn: Turn, response_id: str | None, refusal: str
    ) -> list[JSON]:
        """Run the calls of a turn that has calls of the client, too; return their result items."""
        numbered = _numbered(turn.calls)
        self._attempt.begin_calls(
            {made: partial(self._result, call, response_id, refusal) for call, made in numbered}
        )
        results = await all_of([self._attempt.result(made) for _, made in numbered])
        return self._format.result_items(list(zip(turn.calls, results, strict=True)))

    def _step(self, turn: Turn, results: Sequence[ToolResult]) -> Step:
        items = self._format.result_items(list(zip(turn.calls, results, strict=True)))
        return Step(items=turn.items, results=tuple(items))

    async def _result(
        self, call: InjectedCall, response_id: str | None, refusal: str
    ) -> ToolResult:
        tool = self._tools[call.name]
        arguments = call_arguments(call.arguments)
        if refusal:
            result = error_result(refusal)
        elif arguments is None:
            result = error_result("The arguments are not a JSON object.")
        else:
            result = await self._call(tool, arguments)
        self._observer.invoked(tool, call, result, response_id)
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
    """Tell the calls of a turn from each other by what they do, not by their ids."""
    made: Counter[str] = Counter()
    numbered: list[tuple[InjectedCall, Call]] = []
    for call in calls:
        name = f"{call.name} {encode(call.arguments)}"
        numbered.append((call, (name, made[name])))
        made[name] += 1
    return numbered
