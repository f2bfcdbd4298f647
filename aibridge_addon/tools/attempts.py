"""Attempts: the tool calls that were run for a request, so that a retry does not run them again.

A client repeats a request after a failure or a disconnect, and some send it twice at once. All
repetitions share one `Attempt` and continue from its steps, until a client has its response.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from aibridge_addon.facts import HiddenTurns, now
from aibridge_addon.formats.central_tool import ToolResult, error_result
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, decode, encode

logger = logging.getLogger(__name__)

RETRY_SECONDS = 900.0
"""Time within which a client may repeat a request."""
MAX_ATTEMPTS = 1_000

INTERRUPTED = error_result(
    "The call was interrupted before it gave a result, and may have had its effect. Find out"
    " whether it had, before you make it again."
)
"""The result of an interrupted call, which is not repeated: its effect might happen twice."""

_NOT_COMPARED = frozenset(
    {
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "metadata",
        "client_metadata",
        "service_tier",
    }
)
"""Members that clients change between attempts."""
_CHECKSUM_NAME = b"cch="
_CHECKSUM = re.compile(rb"\bcch=\w*")
"""In Claude Code's system prompt, a checksum of the whole request."""

_INDEX_SCOPE, _INDEX_KEY = "attempts", "open"
"""Scope and key under which the store has the digests of all open attempts."""
_HEAD = "attempt"
"""The key under which the store has the keys of an attempt's steps and calls."""

type Remember = Callable[[HiddenTurns], None]
type Find = Callable[[str, Collection[str]], Awaitable[Mapping[str, str]]]
type Run[T] = Callable[[], Coroutine[Any, Any, T]]
type Call = tuple[str, int]
"""A tool with its arguments, and the number of the call among calls with the same ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A turn whose calls were run, and their results, as elements of the next request."""

    items: tuple[JSON, ...]
    results: tuple[JSON, ...]


class _Shared[T]:
    """A value computed by a task that several requests await; it is cancelled with the last one."""

    def __init__(self, value: T) -> None:
        self.value = value
        """A placeholder until the task has ended."""
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def is_done(self) -> bool:
        return self._task is None or self._task.done()

    def start(self, run: Run[T], *, then: Callable[[], None]) -> None:
        self._task = asyncio.ensure_future(self._compute(run, then))

    async def _compute(self, run: Run[T], then: Callable[[], None]) -> None:
        self.value = await run()
        then()

    async def wait(self) -> T:
        if self._task is None:
            return self.value
        self._waiting += 1
        try:
            await asyncio.wait({self._task})
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        if not self._task.cancelled():
            self._task.result()  # raises if a bug of ours has raised
        return self.value


class Attempt:
    """The steps and calls that were run for one request, shared by all its repetitions."""

    def __init__(self, digest: str, attempts: "Attempts") -> None:
        self.digest = digest
        self.changed_at = time.monotonic()
        self._attempts = attempts
        self._steps: list[_Shared[Step]] = []
        self._calls: dict[str, list[_Shared[ToolResult]]] = {}
        """Calls of turns that also have client calls, by tool and arguments."""

    @property
    def steps(self) -> list[Step]:
        """The finished steps, up to the first unfinished one."""
        done: list[Step] = []
        for step in self._steps:
            if not step.is_done:
                break
            done.append(step.value)
        return done

    async def step(self, position: int, interrupted: Step, run: Run[Step]) -> Step:
        """Return the step at a position; only the first request to reach it runs it.

        Args:
            position: of the step.
            interrupted: the step if it is cancelled.
            run: runs the step.
        """
        if position == len(self._steps):
            new = {f"step:{position}": _Shared(interrupted)}
            self._steps += new.values()
            self._changed(new)
            self._steps[position].start(run, then=partial(self._changed, new))
        return await self._steps[position].wait()

    def start_calls(self, calls: Mapping[Call, Run[ToolResult]]) -> None:
        """Start the calls that no request has started, which are in the order of their numbers."""
        new: dict[str, _Shared[ToolResult]] = {}
        for name, number in calls:
            if not self.has_call((name, number)):
                new[_call_key(name, number)] = _Shared(INTERRUPTED)
                self._calls.setdefault(name, []).append(new[_call_key(name, number)])
        if new:
            self._changed(new)
        for (name, number), run in calls.items():
            if shared := new.get(key := _call_key(name, number)):
                shared.start(run, then=partial(self._changed, {key: shared}))

    def has_call(self, call: Call) -> bool:
        """Return True if a call was started."""
        name, number = call
        return number < len(self._calls.get(name, ()))

    async def result(self, call: Call) -> ToolResult:
        """Wait for the result of a call that was started."""
        name, number = call
        return await self._calls[name][number].wait()

    def succeed(self) -> None:
        """Close the attempt: a client has its response."""
        self._attempts.close(self)

    def fail(self) -> None:
        """Keep the attempt open, even if another repetition of the request has succeeded."""
        self._attempts.store(self, self.contents())

    def _changed(self, changes: Mapping[str, _Shared[Any]]) -> None:
        self.changed_at = time.monotonic()
        self._attempts.store(self, {key: shared.value for key, shared in changes.items()})

    # In the store

    def contents(self) -> dict[str, Step | ToolResult]:
        """Return all steps and calls, by their keys in the store."""
        steps = {f"step:{n}": step.value for n, step in enumerate(self._steps)}
        calls = {
            _call_key(name, n): call.value
            for name, calls in self._calls.items()
            for n, call in enumerate(calls)
        }
        return {**steps, **calls}

    def load(self, contents: Mapping[str, JSON]) -> None:
        """Restore steps and calls from the store, by key, in order."""
        for key, content in contents.items():
            if key.startswith("step:"):
                self._steps.append(_Shared(msgspec.convert(content, Step)))
            else:
                name = key.split(":", 2)[2]
                result = _Shared(msgspec.convert(content, ToolResult))
                self._calls.setdefault(name, []).append(result)


class Attempts:
    """The attempts of all requests whose clients have no response yet."""

    def __init__(self, *, remember: Remember, find: Find) -> None:
        self._remember = remember
        self._find = find
        self._open: OrderedDict[str, Attempt] = OrderedDict()
        self._stored: dict[str, dict[str, None]] = {}
        """The keys in the store, in order, by digest of the attempt."""
        self._previous: set[str] | None = None
        """Digests of attempts that an earlier process left open; None until they are read."""

    async def join(self, scope: str, request: Members) -> Attempt:
        """Return the attempt that a request belongs to. Never raises."""
        digest = _digest(scope, request)
        if self._previous is None:
            self._previous = await self._read_index()
        known = self._open.get(digest)
        if known and time.monotonic() - known.changed_at < RETRY_SECONDS:
            return known
        attempt = Attempt(digest, self)
        if digest in self._previous:
            self._previous.discard(digest)
            await self._load(attempt)
            if joined := self._open.get(digest):  # created during the lookup
                return joined
        self._put(attempt)
        return attempt

    def store(self, attempt: Attempt, contents: Mapping[str, object]) -> None:
        """Store steps and calls of an attempt, by key."""
        self._put(attempt)
        if not contents:
            return
        is_new = attempt.digest not in self._stored
        keys = self._stored.setdefault(attempt.digest, {})
        for key, content in contents.items():
            self._write(attempt.digest, key, encode(content))
        if not contents.keys() <= keys.keys():
            keys |= dict.fromkeys(contents)
            self._write(attempt.digest, _HEAD, encode({"at": time.time(), "keys": list(keys)}))
        if is_new:
            self._write_index()

    def close(self, attempt: Attempt) -> None:
        """Remove an attempt, also from the store."""
        if self._open.get(attempt.digest) is attempt:
            del self._open[attempt.digest]
        if keys := self._stored.pop(attempt.digest, None):
            for key in (_HEAD, *keys):
                self._write(attempt.digest, key, "null")
            self._write_index()

    def _put(self, attempt: Attempt) -> None:
        self._open[attempt.digest] = attempt
        self._open.move_to_end(attempt.digest)
        if len(self._open) > MAX_ATTEMPTS:
            digest, _ = self._open.popitem(last=False)
            self._stored.pop(digest, None)

    def _write(self, scope: str, key: str, content: str) -> None:
        self._remember(HiddenTurns(scope=scope, key=key, content=content, created_at=now()))

    def _write_index(self) -> None:
        digests = sorted(self._stored.keys() | (self._previous or set()))
        self._write(_INDEX_SCOPE, _INDEX_KEY, encode(digests))

    async def _read_index(self) -> set[str]:
        try:
            return set((await self._found(_INDEX_SCOPE, [_INDEX_KEY])).get(_INDEX_KEY) or ())
        except Exception:  # the edge: a store of any kind
            logger.exception("aibridge: attempts of earlier requests cannot be read from the store")
            return set()

    async def _load(self, attempt: Attempt) -> None:
        """Restore an attempt that an earlier process left open, unless it is too old."""
        try:
            head = (await self._found(attempt.digest, [_HEAD])).get(_HEAD)
            if not head or not 0 <= time.time() - head["at"] < RETRY_SECONDS:
                return
            keys = head["keys"]
            found = await self._found(attempt.digest, keys)
            attempt.load({key: found[key] for key in keys})
            self._stored[attempt.digest] = dict.fromkeys(keys)
        except Exception:  # the edge: a store of any kind
            logger.exception("aibridge: an earlier attempt cannot be read from the store")

    async def _found(self, scope: str, keys: Collection[str]) -> dict[str, JSON]:
        contents = await self._find(scope, keys)
        return {key: decode(content.encode()) for key, content in contents.items()}


def _call_key(name: str, number: int) -> str:
    return f"call:{number}:{name}"


def _digest(scope: str, request: Members) -> str:
    """Return a digest that is the same for all attempts of one request."""
    digest = hashlib.sha256(scope.encode())
    for name in sorted(request.keys() - _NOT_COMPARED):
        compared = bytes(request[name])
        if name == "system" and _CHECKSUM_NAME in compared:
            compared = _CHECKSUM.sub(b"", compared)
        digest.update(b"%b\0%d\0" % (name.encode("utf-8", "replace"), len(compared)))
        digest.update(compared)
    return digest.hexdigest()
