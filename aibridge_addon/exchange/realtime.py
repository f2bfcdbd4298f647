"""Reads the requests and responses in a WebSocket of OpenAI Realtime. Messages stay unchanged.

Each response is an interception: of a client's `response.create`, or begun by the provider when a
person stopped speaking, which no policy can refuse any more. A transcript of what a person said is
an interception of its own, of the model that made it. Pieces of audio are relayed unread.
"""

import math
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec

from aibridge_addon.exchange.conversation import (
    SWITCHING_PROTOCOLS,
    Begin,
    Check,
    Conversation,
    read_message,
)
from aibridge_addon.exchange.heard_audio import HeardAudio
from aibridge_addon.exchange.recent_items import RecentItems
from aibridge_addon.exchange.responses_websocket import REQUEST
from aibridge_addon.facts import ProviderError, ResponseFacts, Status
from aibridge_addon.formats import Reader, openai_realtime
from aibridge_addon.formats.audio import base64_seconds, is_blob, openai_rate
from aibridge_addon.formats.base import SESSION
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.raw_json import (
    JSON,
    as_raw,
    count,
    elements,
    joined,
    mapping,
    member,
    members,
    read,
    text,
)

_SPEECH = frozenset({"input_audio_buffer.append", "input_audio_buffer.commit"})
"""Messages after which the provider may begin a response or a transcript by itself."""
_UPDATES = frozenset({"session.update", "transcription_session.update"})
_SESSIONS = frozenset(
    {
        "session.created",
        "session.updated",
        "transcription_session.created",
        "transcription_session.updated",
    }
)
_TRANSCRIPT = "conversation.item.input_audio_transcription.completed"
_AUDIO = frozenset({"response.output_audio.delta", "response.audio.delta"})
_MOST_OPEN = 100
"""Open responses; the provider has one at a time."""
_TRANSCRIBER = (
    ("audio", "input", "transcription", "model"),
    ("input_audio_transcription", "model"),
)
_AUDIO_FORMAT = (("audio", "input", "format"), ("input_audio_format",))
_KEPT = ("max_output_tokens", "max_response_output_tokens", "output_modalities", "modalities")
"""Members of a session that responses inherit, and their estimates depend on."""


@dataclass(slots=True)
class _OpenResponse:
    """A response that has not ended."""

    record: InterceptionRecord
    event_id: str | None
    """The id that the client gave its request."""
    reader: Reader = field(default_factory=openai_realtime.FORMAT.reader)
    last: bytes = b""
    """The event of the end, if its content is recorded."""

    def end(self, status: Status, error: ProviderError | None = None) -> None:
        facts = self.reader.facts()
        self.record.bodies.note_response(
            0, self.last, status=SWITCHING_PROTOCOLS, response_id=facts.response_id
        )
        self.record.end(
            Status.FAILED if facts.error and status is Status.COMPLETED else status,
            response=facts,
            http_status=SWITCHING_PROTOCOLS,
            error=facts.error or error,
            partial=bool(facts.unreadable) or not facts.complete,
            first_byte_at=self.record.upstream.first_byte_at,
        )


class RealtimeConversation(Conversation):
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
        self._items = RecentItems(max_bytes)
        """Items that the client has added since the last response began."""
        self._asked: deque[_OpenResponse] = deque()
        self._open: dict[str, _OpenResponse] = {}
        """Responses that have begun, by their ids."""
        self._models: dict[str, str] = {}
        """The model that the client chose in a message, and the model that the provider states."""
        self._transcriber: str | None = None
        self._transcribes_only = False
        self._heard = HeardAudio()
        self._bytes_per_second = openai_rate(None)
        self._blobs = 0
        """Audio among the items."""
        self._context_tokens = 0
        """Tokens of the last response, which the next reads again."""
        self._kept: dict[str, JSON] = {}

    def is_request(self, message: Members) -> bool:
        """Return True for a message that asks for a response."""
        return text(member(message, "type")) == REQUEST

    @property
    def is_responding(self) -> bool:
        """True while a response is open."""
        return bool(self._asked or self._open)

    def may_follow(self, message: Members) -> Sequence[Members]:
        """Return the requests that the provider may make by itself after a message."""
        if text(member(message, "type")) not in _SPEECH:
            return ()
        response = () if self._transcribes_only else (self.complete({}),)
        is_transcribed = self._transcribes_only or self._transcriber is not None
        return (*response, self._transcript([])) if is_transcribed else response

    def complete(self, request: Members) -> Members:
        """Return a request with the items before it, and the model and state of the session."""
        models = {name: as_raw(model) for name, model in self._models.items()}
        session = {
            **self._kept,
            "audio_seconds": math.ceil(self._heard.for_response),
            "blobs": self._blobs,
            "context_tokens": self._context_tokens,
        }
        return {**request, **models, "input": joined([*self._items]), SESSION: as_raw(session)}

    def _transcript(self, items: list[msgspec.Raw]) -> Members:
        """Return the request for a transcript, with the items in which it is known."""
        seconds = math.ceil(self._heard.for_transcript)
        session = {"audio_seconds": seconds, "is_transcript": True, "modalities": ["text"]}
        model = as_raw(self._transcriber)
        return {"model": model, "input": joined(items), SESSION: as_raw(session)}

    def on_message(self, content: bytes, *, from_client: bool) -> bool:
        """Read a message; return True if a record ended with it.

        Raises:
            RefusedError: a policy refuses it.
        """
        if from_client:
            self._on_client(content)
            return False
        if text(member(members(content) or {}, "type")) in _AUDIO:
            return False
        event = mapping(read(content))
        match event.get("type"):
            case kind if kind in _SESSIONS:
                self._on_session(mapping(event.get("session")), "session_model")
            case "input_audio_buffer.committed":
                self._heard.commit()
            case "input_audio_buffer.cleared":
                self._heard.clear()
            case "input_audio_buffer.speech_started":
                self._heard.start_speech((count(event.get("audio_start_ms")) or 0) / 1000)
            case "response.created":
                self._on_created(event, content)
            case "response.done":
                return self._on_done(event, content)
            case "error":
                return self._on_error(event, content)
            case kind if kind == _TRANSCRIPT:
                self._on_transcript(event)
                return True
        return False

    def _break_off(self, status: Status, error: ProviderError) -> None:
        for response in (*self._open.values(), *self._asked):
            response.end(status, error)
        self._open.clear()
        self._asked.clear()

    def _on_client(self, content: bytes) -> None:
        request = read_message(content, self.is_request)
        kind = None if request is None else text(member(request, "type"))
        if request is None or kind != REQUEST:
            self._check(content)
        if request is None:
            return
        if kind == REQUEST:
            record = self._begin(self.complete(request), content)
            self._drop_items()
            self._asked.append(_OpenResponse(record, text(member(request, "event_id"))))
        elif kind == "conversation.item.create" and "item" in request:
            self._on_item(request["item"])
        elif kind in _UPDATES:
            self._on_session(mapping(member(request, "session")), "model")
        elif kind == "input_audio_buffer.append" and "audio" in request:
            self._heard.append(base64_seconds(request["audio"], self._bytes_per_second))

    def _on_item(self, item: msgspec.Raw) -> None:
        self._items.append(item)
        for part in elements((members(item) or {}).get("content")):
            audio = (members(part) or {}).get("audio")
            if audio is not None:
                self._heard.add(base64_seconds(audio, self._bytes_per_second))
                self._blobs += is_blob(audio)

    def _drop_items(self) -> None:
        self._items.clear()
        self._blobs = 0

    def _on_session(self, session: dict[str, JSON], name: str) -> None:
        if model := text(session.get("model")):
            self._models[name] = model
        self._transcriber = text(_first(session, _TRANSCRIBER)) or self._transcriber
        if coding := _first(session, _AUDIO_FORMAT):
            self._bytes_per_second = openai_rate(coding)
        self._kept |= {name: session[name] for name in _KEPT if name in session}
        kind = text(session.get("type")) or text(session.get("object")) or ""
        self._transcribes_only = self._transcribes_only or "transcription" in kind

    def _on_created(self, event: dict[str, JSON], content: bytes) -> None:
        if self._asked:
            response = self._asked.popleft()
        else:
            record = self._begin_unasked(self.complete({}), b"{}")
            self._drop_items()
            response = _OpenResponse(record, None)
        self._heard.end_response()
        response.record.upstream.note_first_byte()
        response.reader.feed(Event(b"", content, content))
        id_ = text(mapping(event.get("response")).get("id")) or ""
        if (forgotten := self._open.pop(id_, None)) is None and len(self._open) >= _MOST_OPEN:
            forgotten = self._open.pop(next(iter(self._open)))
        if forgotten:
            forgotten.end(Status.FAILED)
        self._open[id_] = response

    def _on_done(self, event: dict[str, JSON], content: bytes) -> bool:
        id_ = text(mapping(event.get("response")).get("id")) or ""
        if id_ not in self._open:
            self._on_created(event, content)
        response = self._open.pop(id_)
        response.reader.feed(Event(b"", content, content))
        if response.record.bodies.wants_responses:
            response.last = content
        response.end(Status.COMPLETED)
        usage = response.reader.facts().usage
        self._context_tokens = (usage and usage.context_tokens) or self._context_tokens
        return True

    def _on_error(self, event: dict[str, JSON], content: bytes) -> bool:
        """End the request that an error is about, unless its response has begun."""
        about = text(mapping(event.get("error")).get("event_id"))
        found = next((one for one in self._asked if about == one.event_id), None)
        if found is None:
            return False
        self._asked.remove(found)
        found.reader.feed(Event(b"", content, content))
        found.end(Status.FAILED)
        return True

    def _on_transcript(self, event: dict[str, JSON]) -> None:
        said = {"type": "input_text", "text": text(event.get("transcript")) or ""}
        item = as_raw({"type": "message", "role": "user", "content": [said]})
        record = self._begin_unasked(self._transcript([item]), b"{}")
        self._heard.end_transcript()
        facts = ResponseFacts(
            response_id=text(event.get("item_id")),
            model=self._transcriber,
            usage=openai_realtime.read_transcription_usage(event),
            complete=True,
        )
        record.end(Status.COMPLETED, response=facts, http_status=SWITCHING_PROTOCOLS)


def _first(session: dict[str, JSON], paths: Iterable[Sequence[str]]) -> JSON:
    """Return the value at the first of some paths that has one."""
    for path in paths:
        found: JSON = session
        for name in path:
            found = mapping(found).get(name)
        if found:
            return found
    return None
