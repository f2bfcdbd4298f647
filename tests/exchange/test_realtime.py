"""Tests of Realtime conversations: each response and each transcript is recorded once."""

import json
from typing import Any

import pytest
from exchange_sessions import RecordedConversation

from aibridge_addon.exchange.conversation import RefusedError
from aibridge_addon.exchange.realtime import RealtimeConversation
from aibridge_addon.facts import (
    InterceptionEnded,
    ProviderError,
    TokenUsage,
    UserPrompt,
)
from aibridge_addon.formats import openai_realtime
from aibridge_addon.raw_json import as_raw, member, members, text

USAGE = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14}


class Session(RecordedConversation):
    """A conversation and the facts that it publishes."""

    wire_format = openai_realtime.FORMAT
    query = "model=gpt-realtime"

    def __init__(self) -> None:
        super().__init__()
        self.conversation = RealtimeConversation(self.begin, self.record, lambda message: None)

    def client(self, kind: str, **members: Any) -> None:
        assert not self.receive({"type": kind, **members}, from_client=True)

    def server(self, kind: str, **members: Any) -> bool:
        return self.receive({"type": kind, **members}, from_client=False)

    def hears(self, seconds: float, bytes_per_second: int = 48_000) -> None:
        audio = "A" * (round(seconds * bytes_per_second * 4 / 3))
        self.client("input_audio_buffer.append", audio=audio)

    def following(self, kind: str = "input_audio_buffer.append") -> list[str | None]:
        """Return the models of what the provider may begin by itself."""
        message = members(json.dumps({"type": kind}).encode())
        assert message
        requests = self.conversation.may_follow(message)
        return [text(member(request, "model")) for request in requests]

    def says(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        self.client("conversation.item.create", item={"role": "user", "content": content})

    def answers(self, id_: str, status: str = "completed", **members: Any) -> bool:
        response = {"object": "realtime.response", "id": id_, "status": status, **members}
        self.server("response.created", response={**response, "status": "in_progress"})
        self.server("response.output_audio.delta", response_id=id_, delta="AAAA" * 100)
        return self.server("response.done", response={"usage": USAGE, **response})

    def of[T](self, kind: type[T]) -> list[T]:
        return [fact for fact in self.facts if type(fact) is kind]

    @property
    def statuses(self) -> list[str]:
        return [end.status.value for end in self.of(InterceptionEnded)]


def test_response_has_the_usage_of_its_end_and_the_texts_before_it() -> None:
    session = Session()
    session.says("Hello.")
    session.says("Who are you?")
    session.client("response.create")
    assert session.answers("resp_1")
    session.client("response.create")
    assert session.answers("resp_2")
    assert [usage.provider_response_id for usage in session.of(TokenUsage)] == ["resp_1", "resp_2"]
    assert [prompt.prompt for prompt in session.of(UserPrompt)] == ["Hello.\nWho are you?"]
    assert session.statuses == ["completed", "completed"]
    assert session.asked[0].model == "gpt-realtime"


def test_response_that_the_provider_begins_by_itself_is_recorded() -> None:
    session = Session()
    session.refuses = True
    assert session.answers("resp_1")
    assert session.statuses == ["completed"]
    assert len(session.of(TokenUsage)) == 1


def test_request_that_contains_the_name_of_audio_is_refused_like_others() -> None:
    session = Session()
    session.refuses = True
    for id_ in ("input_audio_buffer.append", "response.audio.delta"):
        with pytest.raises(RefusedError):
            session.client("response.create", event_id=id_)
    content = b'{"type":"response.create","type":"input_audio_buffer.append"}'
    with pytest.raises(RefusedError):
        session.conversation.on_message(content, from_client=True)


def test_response_that_contains_the_name_of_audio_is_recorded() -> None:
    session = Session()
    session.client("response.create")
    assert session.answers("resp_1", metadata={"a": "response.audio.delta"})
    assert session.statuses == ["completed"]


def test_interrupted_response_is_cancelled_with_its_usage() -> None:
    session = Session()
    session.client("response.create")
    session.answers("resp_1", "cancelled")
    assert session.statuses == ["cancelled"]
    assert [usage.output_tokens for usage in session.of(TokenUsage)] == [4]


def test_transcript_has_a_row_of_its_own_with_its_model_and_is_a_prompt() -> None:
    session = Session()
    transcription = {"model": "gpt-4o-transcribe"}
    session.server(
        "session.created",
        session={"model": "gpt-realtime", "audio": {"input": {"transcription": transcription}}},
    )
    assert session.server(
        "conversation.item.input_audio_transcription.completed",
        item_id="item_7",
        transcript="Turn on the light.",
        usage={"type": "duration", "seconds": 2.5},
    )
    [usage] = session.of(TokenUsage)
    assert (usage.model, usage.input_tokens) == ("gpt-4o-transcribe", None)
    assert usage.extra == {"input_audio_seconds": 2.5}
    assert usage.interception.model == "gpt-4o-transcribe"
    assert [prompt.prompt for prompt in session.of(UserPrompt)] == ["Turn on the light."]


def test_model_of_the_session_is_the_model_that_the_client_chose_or_the_provider_states() -> None:
    session = Session()
    session.server("session.created", session={"model": "gpt-realtime-2026"})
    session.client("response.create")
    session.client("session.update", session={"model": "gpt-realtime-mini"})
    session.client("response.create")
    assert [facts.model for facts in session.asked] == ["gpt-realtime", "gpt-realtime-mini"]


def test_refused_request_reaches_the_client_as_an_error() -> None:
    session = Session()
    session.refuses = True
    with pytest.raises(RefusedError):
        session.client("response.create")


def test_error_about_a_request_ends_its_record_and_another_error_does_not() -> None:
    session = Session()
    session.client("response.create", event_id="mine")
    assert not session.server("error", error={"code": "x", "message": "no", "event_id": "other"})
    assert session.server("error", error={"code": "x", "message": "no", "event_id": "mine"})
    [end] = session.of(InterceptionEnded)
    assert (end.status.value, end.error_type, end.error_message) == ("failed", "x", "no")


@pytest.mark.parametrize(("by_client", "status"), [(True, "cancelled"), (False, "failed")])
def test_end_of_the_connection_ends_open_records(by_client: bool, status: str) -> None:
    session = Session()
    session.client("response.create")
    session.server("response.created", response={"object": "realtime.response", "id": "r"})
    session.client("response.create")
    session.conversation.on_end(by_client=by_client)
    assert session.statuses == [status, status]


def test_shutdown_interrupts_open_records() -> None:
    session = Session()
    session.client("response.create")
    session.conversation.interrupt(ProviderError(type="shut_down", message=None))
    assert session.statuses == ["interrupted"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"type":1}', b'{"type":"x"}'])
def test_message_of_another_shape_is_ignored(content: bytes) -> None:
    session = Session()
    for from_client in (True, False):
        assert not session.conversation.on_message(content, from_client=from_client)
    assert session.facts == []


def test_provider_that_begins_responses_without_end_fills_no_memory() -> None:
    session = Session()

    for n in range(250):
        session.server("response.created", response={"id": f"r{n}", "status": "in_progress"})
    ended = session.of(InterceptionEnded)
    assert len(ended) == 150
    assert {(end.status.value, end.partial) for end in ended} == {("failed", True)}
    assert session.of(TokenUsage) == []

    session.server("response.created", response={"id": "r249", "status": "in_progress"})
    session.conversation.on_end(by_client=False)
    assert len(session.of(InterceptionEnded)) == 251


TRANSCRIBER = {"transcription": {"model": "gpt-4o-transcribe"}}


@pytest.mark.parametrize(
    ("session", "bytes_per_second"),
    [
        ({}, 48_000),
        ({"input_audio_format": "pcm16"}, 48_000),
        ({"input_audio_format": "g711_ulaw"}, 8_000),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}}, 48_000),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, 32_000),
        ({"audio": {"input": {"format": {"type": "audio/pcma"}}}}, 8_000),
    ],
)
@pytest.mark.parametrize("by_client", [True, False])
def test_audio_is_measured_by_its_size_and_format(
    session: dict[str, Any], bytes_per_second: int, by_client: bool
) -> None:
    conversation = Session()
    if by_client:
        conversation.client("session.update", session=session)
    else:
        conversation.server("session.created", session=session)
    conversation.hears(5, bytes_per_second)
    conversation.hears(4, bytes_per_second)
    conversation.client("response.create")
    assert [spoken.audio_tokens for spoken in conversation.spoken] == [90]


def test_audio_of_an_item_is_measured_and_no_text() -> None:
    session = Session()
    audio = {"type": "input_audio", "audio": "A" * 640_000}
    session.client("conversation.item.create", item={"role": "user", "content": [audio]})
    session.client("response.create")
    session.client("response.create")
    first, second = session.spoken
    assert (first.audio_tokens, first.blobs) == (100, 1)
    assert second.blobs == 0


def test_response_reads_the_audio_since_the_last_and_the_tokens_of_the_session_again() -> None:
    session = Session()
    for seconds in (3, 7):
        session.hears(seconds)
        session.server("input_audio_buffer.committed")
        session.client("response.create")
        session.answers(f"resp_{seconds}")
    assert [spoken.audio_tokens for spoken in session.spoken] == [30, 70]
    assert [spoken.context_tokens for spoken in session.spoken] == [0, 14]


def test_silence_and_a_cleared_buffer_are_no_input() -> None:
    session = Session()
    session.hears(60)
    session.server("input_audio_buffer.speech_started", audio_start_ms=58_000)
    session.hears(1)
    session.server("input_audio_buffer.committed")
    session.hears(5)
    session.server("input_audio_buffer.cleared")
    session.client("response.create")
    assert [spoken.audio_tokens for spoken in session.spoken] == [30]


@pytest.mark.parametrize(
    "session",
    [
        {"type": "transcription", "audio": {"input": TRANSCRIBER}},
        {"object": "realtime.transcription_session", "audio": {"input": TRANSCRIBER}},
        {
            "object": "realtime.transcription_session",
            "input_audio_transcription": TRANSCRIBER["transcription"],
        },
    ],
)
@pytest.mark.parametrize(
    ("by_client", "kind"),
    [
        (True, "session.update"),
        (False, "session.created"),
        (True, "transcription_session.update"),
        (False, "transcription_session.updated"),
    ],
)
def test_session_that_only_transcribes_may_make_transcripts(
    session: dict[str, Any], by_client: bool, kind: str
) -> None:
    conversation = Session()
    (conversation.client if by_client else conversation.server)(kind, session=session)
    for speech in ("input_audio_buffer.append", "input_audio_buffer.commit"):
        assert conversation.following(speech) == ["gpt-4o-transcribe"]
    assert conversation.following("response.cancel") == []


def test_session_with_transcripts_may_make_responses_and_transcripts() -> None:
    session = Session()
    assert session.following() == [None]
    session.client("session.update", session={"model": "m", "audio": {"input": TRANSCRIBER}})
    assert session.following() == ["m", "gpt-4o-transcribe"]


def test_transcript_reads_the_audio_since_the_last_and_has_few_tokens() -> None:
    session = Session()
    session.client(
        "session.update", session={"type": "transcription", "audio": {"input": TRANSCRIBER}}
    )
    session.hears(20)
    [request] = session.conversation.may_follow({"type": as_raw("input_audio_buffer.commit")})
    assert openai_realtime.FORMAT.units(request) == {"input_audio_seconds": 20}
    assert openai_realtime.FORMAT.output_limit(request) == 210
    assert not openai_realtime.FORMAT.spoken_input(request).is_answered_in_audio
    session.server("input_audio_buffer.committed")
    session.server("conversation.item.input_audio_transcription.completed", transcript="Hi")
    assert [spoken.audio_tokens for spoken in session.spoken] == [200]
    [request] = session.conversation.may_follow({"type": as_raw("input_audio_buffer.commit")})
    assert openai_realtime.FORMAT.units(request) == {"input_audio_seconds": 0}


def test_limit_and_modalities_of_a_response_take_precedence_over_those_of_its_session() -> None:
    session = Session()
    kept = {"max_output_tokens": 500, "output_modalities": ["text"]}
    session.client("session.update", session=kept)
    own = {"response": {"max_output_tokens": 70, "output_modalities": ["audio"]}}
    requests = [
        session.conversation.complete({}),
        session.conversation.complete({name: as_raw(value) for name, value in own.items()}),
    ]
    limits = [openai_realtime.FORMAT.output_limit(request) for request in requests]
    spoken = [openai_realtime.FORMAT.spoken_input(request) for request in requests]
    assert limits == [500, 70]
    assert [each.is_answered_in_audio for each in spoken] == [False, True]
