"""Attempts of one request: what its tools have done, so that no tool runs twice for it.

A client whose answer failed, or who left, sends the same request again, and some send it twice at
once. All of them share one `Attempt`: the turns whose calls were run, and their results. The next
request goes on from there. It is forgotten once a client has its answer.
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
"""For a client to come again with the same request."""
MAX_ATTEMPTS = 1_000

INTERRUPTED = error_result(
    "The call was interrupted before it gave a result, and may have had its effect. Find out"
    " whether it had, before you make it again."
)
"""The result of a call that was cut short; running it again could do twice what it does."""

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
"""Members that clients change from one attempt to the next."""
_CHECKSUM = re.compile(rb"\bcch=\w*")
"""In Claude Code's system prompt, a checksum of the whole request."""

_INDEX_SCOPE, _INDEX_KEY = "attempts", "open"
"""Where the store has the digests of all attempts that are open."""
_HEAD = "attempt"
"""The key under which the store has the keys of what was done for a request."""

type Remember = Callable[[HiddenTurns], None]
type Find = Callable[[str, Collection[str]], Awaitable[Mapping[str, str]]]
type Run[T] = Callable[[], Coroutine[Any, Any, T]]
type Call = tuple[str, int]
"""A tool with its arguments, and the number of the call among those that have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A turn whose calls were run, and their results, as a request takes them."""

    items: tuple[JSON, ...]
    results: tuple[JSON, ...]


class _Shared[T]:
    """A value that work brings, for all who wait for it; the work ends when nobody does."""

    def __init__(self, value: T) -> None:
        self.value = value
        """Until the work has ended, what is there in its place."""
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def is_done(self) -> bool:
        return self._task is None or self._task.done()

    def start(self, run: Run[T], *, then: Callable[[], None]) -> None:
        self._task = asyncio.ensure_future(self._take(run, then))

    async def _take(self, run: Run[T], then: Callable[[], None]) -> None:
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
            self._task.result()  # raises what a bug of ours has raised
        return self.value


class Attempt:
    """What was done for one request; shared by all who send it."""

    def __init__(self, digest: str, attempts: "Attempts") -> None:
        self.digest = digest
        self.changed_at = time.monotonic()
        self._attempts = attempts
        self._steps: list[_Shared[Step]] = []
        self._calls: dict[str, list[_Shared[ToolResult]]] = {}
        """Calls of turns that end with the client's own, by tool and arguments."""

    @property
    def steps(self) -> list[Step]:
        """The steps that have their results, up to the first that has not."""
        done: list[Step] = []
        for step in self._steps:
            if not step.is_done:
                break
            done.append(step.value)
        return done

    async def step(self, position: int, interrupted: Step, run: Run[Step]) -> Step:
        """Return the step at a position; only who comes first has it run.

        `interrupted` is what the step comes to if it is cut short.
        """
        if position == len(self._steps):
            new = {f"step:{position}": _Shared(interrupted)}
            self._steps += new.values()
            self._changed(new)
            self._steps[position].start(run, then=partial(self._changed, new))
        return await self._steps[position].wait()

    def begin_calls(self, calls: Mapping[Call, Run[ToolResult]]) -> None:
        """Begin those calls that nobody has begun; they come in the order of their numbers."""
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
        """Whether a call was begun."""
        name, number = call
        return number < len(self._calls.get(name, ()))

    async def result(self, call: Call) -> ToolResult:
        """Return the result of a call that was begun."""
        name, number = call
        return await self._calls[name][number].wait()

    def succeed(self) -> None:
        """Forget it: a client has its answer."""
        self._attempts.close(self)

    def fail(self) -> None:
        """Have it found again, though somebody else with the same request may have succeeded."""
        self._attempts.keep(self, self.contents())

    def _changed(self, what: Mapping[str, _Shared[Any]]) -> None:
        self.changed_at = time.monotonic()
        self._attempts.keep(self, {key: shared.value for key, shared in what.items()})

    # In the store

    def contents(self) -> dict[str, Step | ToolResult]:
        """Return all that was done, by the keys under which the store has it."""
        steps = {f"step:{n}": step.value for n, step in enumerate(self._steps)}
        calls = {
            _call_key(name, n): call.value
            for name, calls in self._calls.items()
            for n, call in enumerate(calls)
        }
        return {**steps, **calls}

    def load(self, contents: Mapping[str, JSON]) -> None:
        """Take what the store has, by key, in order."""
        for key, content in contents.items():
            if key.startswith("step:"):
                self._steps.append(_Shared(msgspec.convert(content, Step)))
            else:
                name = key.split(":", 2)[2]
                result = _Shared(msgspec.convert(content, ToolResult))
                self._calls.setdefault(name, []).append(result)


class Attempts:
    """The attempts of all requests whose clients have no answer yet."""

    def __init__(self, *, remember: Remember, find: Find) -> None:
        self._remember = remember
        self._find = find
        self._open: OrderedDict[str, Attempt] = OrderedDict()
        self._stored: dict[str, dict[str, None]] = {}
        """What the store has of those: their keys, in order, by digest."""
        self._left_open: set[str] | None = None
        """Digests of those that the process before this one has left; None if not yet read."""

    async def join(self, scope: str, request: Members) -> Attempt:
        """Return the attempt that a request belongs to. Never raises."""
        digest = _digest(scope, request)
        if self._left_open is None:
            self._left_open = await self._read_index()
        known = self._open.get(digest)
        if known and time.monotonic() - known.changed_at < RETRY_SECONDS:
            return known
        attempt = Attempt(digest, self)
        if digest in self._left_open:
            self._left_open.discard(digest)
            await self._load(attempt)
            if joined := self._open.get(digest):  # while we looked it up
                return joined
        self._put(attempt)
        return attempt

    def keep(self, attempt: Attempt, contents: Mapping[str, object]) -> None:
        """Remember what was done, by key."""
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
        """Forget an attempt."""
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
        digests = sorted(self._stored.keys() | (self._left_open or set()))
        self._write(_INDEX_SCOPE, _INDEX_KEY, encode(digests))

    async def _read_index(self) -> set[str]:
        try:
            return set((await self._found(_INDEX_SCOPE, [_INDEX_KEY])).get(_INDEX_KEY) or ())
        except Exception:  # the edge: a store of any kind
            logger.exception("aibridge: the attempts of earlier requests cannot be looked up")
            return set()

    async def _load(self, attempt: Attempt) -> None:
        """Take what the process before this one has done for a request, unless it is long ago."""
        try:
            head = (await self._found(attempt.digest, [_HEAD])).get(_HEAD)
            if not head or not 0 <= time.time() - head["at"] < RETRY_SECONDS:
                return
            keys = head["keys"]
            found = await self._found(attempt.digest, keys)
            attempt.load({key: found[key] for key in keys})
            self._stored[attempt.digest] = dict.fromkeys(keys)
        except Exception:  # the edge: a store of any kind
            logger.exception("aibridge: an attempt of an earlier request cannot be looked up")

    async def _found(self, scope: str, keys: Collection[str]) -> dict[str, JSON]:
        contents = await self._find(scope, keys)
        return {key: decode(content.encode()) for key, content in contents.items()}


def _call_key(name: str, number: int) -> str:
    return f"call:{number}:{name}"


def _digest(scope: str, request: Members) -> str:
    """Return what all attempts of one request have in common."""
    digest = hashlib.sha256(scope.encode())
    for name in sorted(request.keys() - _NOT_COMPARED):
        value = memoryview(request[name])
        given = _CHECKSUM.sub(b"", value) if name == "system" else value
        digest.update(b"%b\0%d\0" % (name.encode("utf-8", "replace"), len(given)))
        digest.update(given)
    return digest.hexdigest()
