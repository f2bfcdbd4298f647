"""Reads the turns in a WebSocket of Google's Live API. Messages stay unchanged.

A turn of the model is an interception: asked for by a client's complete content or by the results
of tools, or begun by the provider when a person stopped speaking, which no policy can refuse any
more. Its usage may come in a message after its end. Pieces of audio are relayed unread.
"""

import math
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import msgspec

from aibridge_addon.exchange.conversation import (
    SWITCHING_PROTOCOLS,
    Begin,
    Check,
    Conversation,
    read_message,
)
from aibridge_addon.exchange.recent_items import RecentItems
from aibridge_addon.facts import ProviderError, Status
from aibridge_addon.formats.audio import base64_seconds, google_rate
from aibridge_addon.formats.base import SESSION
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.gemini.names import member_named, named, raw_named
from aibridge_addon.formats.gemini_live.reader import INTERRUPTED, LiveReader, chunk_of
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.raw_json import (
    as_raw,
    elements,
    joined,
    mapping,
    members,
    read,
    sequence,
    text,
)

_HEAD = 256
"""Bytes of a message that suffice to recognise a piece of audio."""
_READ = (b'omplete"', b'Call"', b'call"', b'etadata"')
"""Ends of names in messages that are more than a piece of audio."""


@dataclass(slots=True)
class _OpenTurn:
    """A turn that has not ended, or whose usage is still to come."""

    record: InterceptionRecord
    reader: LiveReader = field(default_factory=LiveReader)
    content: list[bytes] = field(default_factory=list)
    """Its messages, if its content is recorded."""
    size: int = 0

    def feed(self, message: bytes, max_bytes: int) -> None:
        self.record.upstream.note_first_byte()
        self.size += len(message) + 1
        if self.record.bodies.wants_responses and self.size <= max_bytes:
            self.content.append(message)
        self.reader.feed(Event(b"", message, message))

    def end(self, status: Status = Status.COMPLETED, error: ProviderError | None = None) -> None:
        facts = self.reader.facts()
        model = self.record.interception.model  # which no message of a turn names
        further = tuple(replace(usage, model=model) for usage in facts.hidden_usages)
        facts = replace(facts, hidden_usages=further)
        body = b"\n".join(line.replace(b"\n", b" ") for line in self.content)
        self.record.bodies.note_response(
            0, body, status=SWITCHING_PROTOCOLS, response_id=facts.response_id
        )
        is_whole = self.reader.is_complete or (self.reader.has_calls and status is Status.COMPLETED)
        self.record.end(
            Status.FAILED if facts.error else Status.COMPLETED if is_whole else status,
            response=facts,
            http_status=SWITCHING_PROTOCOLS,
            error=facts.error or (None if is_whole else error),
            partial=bool(facts.unreadable) or not is_whole,
            first_byte_at=self.record.upstream.first_byte_at,
        )


class LiveConversation(Conversation):
    """Reads the messages of one connection."""

    keeps_state: ClassVar[bool] = True

    def __init__(
        self,
        begin: Begin,
        begin_unasked: Begin,
        check: Check,
        *,
        max_bytes: int = sys.maxsize,
    ) -> None:
        """Take `begin`, which may refuse a request, and `begin_unasked`, which never does."""
        super().__init__(begin, begin_unasked, check, max_bytes=max_bytes)
        self._setup: Members = {}
        self._items = RecentItems(max_bytes)
        """Contents that the client has sent since the last turn began."""
        self._audio_seconds = 0.0
        """Audio that the client has sent since then."""
        self._frames = 0
        """Frames of video, likewise."""
        self._context_tokens = 0
        """Tokens of the last turn, which the next reads again."""
        self._turns: deque[_OpenTurn] = deque()

    def is_request(self, message: Members) -> bool:
        """Return True for a message after which the model's turn begins."""
        content = mapping(member_named(message, "clientContent"))
        return (
            named(content, "turnComplete") is True or raw_named(message, "toolResponse") is not None
        )

    @property
    def is_responding(self) -> bool:
        """True while a response is open."""
        return bool(self._turns)

    def may_follow(self, message: Members) -> Sequence[Members]:
        """Return the turn that the provider may begin by itself after a message."""
        return () if raw_named(message, "realtimeInput") is None else (self.complete({}),)

    def complete(self, message: Members) -> Members:
        """Return a request: the set-up, the contents since the last turn, and what was heard."""
        items = [*self._items, *_contents(message)]
        session = {
            "audio_seconds": math.ceil(self._audio_seconds),
            "frames": self._frames,
            "context_tokens": self._context_tokens,
        }
        return {**self._setup, "contents": joined(items), SESSION: as_raw(session)}

    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return True if a record ended with it.

        Raises:
            RefusedError: a policy refuses it.
        """
        if from_client:
            self._on_client(content)
            return False
        if self._turns and b"nlineData" in content[:_HEAD] and not any(n in content for n in _READ):
            return False
        return self._on_server(content)

    def _break_off(self, status: Status, error: ProviderError) -> None:
        while self._turns:
            self._turns.popleft().end(status, error)

    def _on_client(self, content: bytes) -> None:
        message = read_message(content, self.is_request)
        if message is None or not self.is_request(message):
            self._check(content)
        if message is None:
            return
        if (setup := raw_named(message, "setup")) is not None:
            self._setup = members(setup) or {}
        elif self.is_request(message):
            self._end_finished()
            record = self._begin(self.complete(message), content)
            self._forget_input()
            self._turns.append(_OpenTurn(record))
        else:
            self._items.extend(_contents(message))
            self._hear(message)

    def _hear(self, message: Members) -> None:
        """Measure the audio and video of a message."""
        heard = raw_named(message, "realtimeInput")
        given = {} if heard is None else members(heard) or {}
        chunks = [raw_named(given, "audio"), raw_named(given, "video")]
        for chunk in (*chunks, *elements(raw_named(given, "mediaChunks"))):
            blob = {} if chunk is None else members(chunk) or {}
            media_type = text(member_named(blob, "mimeType")) or ""
            if media_type.startswith("audio/") and "data" in blob:
                self._audio_seconds += base64_seconds(blob["data"], google_rate(media_type))
            elif "data" in blob:
                self._frames += 1

    def _forget_input(self) -> None:
        self._items.clear()
        self._audio_seconds, self._frames = 0.0, 0

    def _end_finished(self) -> None:
        """End the turns whose usage did not come, and those that wait for results of tools."""
        while self._turns and (
            self._turns[0].reader.is_complete or self._turns[0].reader.has_calls
        ):
            self._end_first()

    def _on_server(self, content: bytes) -> bool:
        message = mapping(read(content))
        chunk, usage = chunk_of(message), named(message, "usageMetadata")
        heard = mapping(named(named(message, "serverContent"), "inputTranscription")).get("text")
        if isinstance(heard, str) and heard:
            self._items.append(_said(heard))
        has_content = bool(chunk.keys() - {INTERRUPTED}) or b"nlineData" in content[:_HEAD]
        ended = has_content and self._end_complete()
        if not self._turns:
            if not has_content and not usage:
                return ended
            self._turns.append(_OpenTurn(self._begin_unasked(self.complete({}), b"{}")))
            self._forget_input()
        turn = self._turns[0]
        turn.feed(content, self._max_bytes)
        if turn.reader.ended or (turn.reader.is_complete and turn.reader.has_usage):
            self._end_first()
            return True
        return ended

    def _end_complete(self) -> bool:
        """End a complete turn whose usage did not come: the message belongs to the next turn."""
        if not self._turns or not self._turns[0].reader.is_complete:
            return False
        self._end_first()
        return True

    def _end_first(self) -> None:
        turn = self._turns.popleft()
        turn.end()
        facts = turn.reader.facts()
        last = facts.hidden_usages[-1] if facts.hidden_usages else facts.usage
        self._context_tokens = (last and last.context_tokens) or self._context_tokens


def _contents(message: Members) -> list[msgspec.Raw]:
    """Return what a client's message adds to the conversation."""
    if (content := raw_named(message, "clientContent")) is not None:
        return elements((members(content) or {}).get("turns"))
    if (results := member_named(message, "toolResponse")) is not None:
        given = sequence(named(results, "functionResponses"))
        parts = [{"functionResponse": result} for result in given]
        return [as_raw({"role": "user", "parts": parts})]
    said = mapping(member_named(message, "realtimeInput")).get("text")
    return [_said(said)] if isinstance(said, str) and said else []


def _said(words: str) -> msgspec.Raw:
    return as_raw({"role": "user", "parts": [{"text": words}]})
