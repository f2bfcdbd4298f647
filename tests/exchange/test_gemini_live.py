"""Tests of Live conversations: each turn is recorded once, with the usage of each message."""

from typing import Any

import pytest
from exchange_sessions import RecordedConversation

from aibridge_addon.exchange.conversation import RefusedError
from aibridge_addon.exchange.gemini_live import LiveConversation
from aibridge_addon.facts import (
    InterceptionEnded,
    ProviderError,
    TokenUsage,
)
from aibridge_addon.formats import gemini_live
from aibridge_addon.raw_json import members

USAGE = {"promptTokenCount": 10, "responseTokenCount": 4, "totalTokenCount": 14}
SETUP = {"setup": {"model": "models/gemini-live-2.5-flash"}}
AUDIO = {"inlineData": {"mimeType": "audio/pcm", "data": "AAAA" * 100}}


class Session(RecordedConversation):
    """A conversation and the facts that it publishes."""

    wire_format = gemini_live.FORMAT

    def __init__(self) -> None:
        super().__init__()
        self.conversation = LiveConversation(self.begin, self.record, lambda message: None)
        self.client(SETUP)
        self.server({"setupComplete": {}})

    def client(self, message: Any) -> None:
        assert not self.receive(message, from_client=True)

    def say(self, words: str, *, complete: bool = True) -> None:
        turns = [{"role": "user", "parts": [{"text": words}]}]
        self.client({"clientContent": {"turns": turns, "turnComplete": complete}})

    def server(self, message: Any) -> bool:
        return self.receive(message, from_client=False)

    def answer(self, *, usage: bool = True) -> bool:
        self.server({"serverContent": {"modelTurn": {"parts": [{"text": "Hi"}]}}})
        end = {"serverContent": {"turnComplete": True}}
        return self.server(end | ({"usageMetadata": USAGE} if usage else {}))

    def ends(self) -> list[tuple[str, bool]]:
        found = [fact for fact in self.facts if isinstance(fact, InterceptionEnded)]
        return [(end.status.value, end.partial) for end in found]

    def tokens(self) -> list[tuple[int | None, int | None]]:
        found = [fact for fact in self.facts if isinstance(fact, TokenUsage)]
        return [(usage.input_tokens, usage.output_tokens) for usage in found]

    def prompts(self) -> list[list[str]]:
        return [[text for parts in facts.user_texts for text in parts] for facts in self.asked]


@pytest.fixture
def session() -> Session:
    return Session()


def test_each_turn_is_recorded_with_its_own_usage(session: Session) -> None:
    session.say("Hello")
    assert session.answer()
    session.say("Again")
    assert session.answer()
    assert session.ends() == [("completed", False)] * 2
    assert session.tokens() == [(10, 4)] * 2
    assert session.prompts() == [["Hello"], ["Again"]]
    assert {facts.model for facts in session.asked} == {"gemini-live-2.5-flash"}


def test_usage_after_the_end_of_a_turn_belongs_to_it(session: Session) -> None:
    session.say("Hello")
    assert not session.answer(usage=False)
    assert session.server({"usageMetadata": USAGE})
    assert (session.ends(), session.tokens()) == ([("completed", False)], [(10, 4)])


def test_turn_without_usage_ends_with_the_next(session: Session) -> None:
    session.say("Hello")
    session.answer(usage=False)
    session.say("Again")
    session.answer()
    assert session.ends() == [("completed", False)] * 2
    assert session.tokens() == [(10, 4)]


def test_content_before_a_complete_turn_is_a_part_of_its_prompt(session: Session) -> None:
    session.say("One", complete=False)
    assert session.asked == []
    session.say("Two")
    assert session.prompts() == [["One", "Two"]]


def test_turn_that_a_person_began_by_speaking_has_what_was_heard_as_its_prompt(
    session: Session,
) -> None:
    chunk = {"mimeType": "audio/pcm;rate=16000", "data": "AAAA"}
    session.client({"realtimeInput": {"audio": chunk}})
    session.server({"serverContent": {"inputTranscription": {"text": "Turn it on."}}})
    session.server({"serverContent": {"modelTurn": {"parts": [AUDIO]}}})
    session.server({"serverContent": {"modelTurn": {"parts": [AUDIO]}}})
    assert session.server({"serverContent": {"turnComplete": True}, "usageMetadata": USAGE})
    assert session.prompts() == [["Turn it on."]]
    assert session.ends() == [("completed", False)]


def test_results_of_tools_begin_a_request_that_names_the_call(session: Session) -> None:
    session.say("Weather?")
    session.server({"toolCall": {"functionCalls": [{"id": "f1", "name": "get", "args": {}}]}})
    results = [{"id": "f1", "name": "get", "response": {"output": "sun"}}]
    session.client({"toolResponse": {"functionResponses": results}})
    session.answer()
    assert session.ends() == [("completed", False)] * 2
    assert session.asked[1].correlating_tool_call_id == "f1"


def test_refused_turn_is_not_open(session: Session) -> None:
    session.refuses = True
    with pytest.raises(RefusedError):
        session.say("Hello")
    session.conversation.on_end(by_client=True)
    assert session.ends() == []


@pytest.mark.parametrize(("by_client", "status"), [(True, "cancelled"), (False, "failed")])
def test_end_of_the_connection_ends_an_open_turn(
    session: Session, by_client: bool, status: str
) -> None:
    session.say("Hello")
    session.server({"serverContent": {"modelTurn": {"parts": [{"text": "Hi"}]}}})
    session.conversation.on_end(by_client=by_client)
    assert session.ends() == [(status, True)]


def test_complete_turn_stays_complete_when_the_connection_ends(session: Session) -> None:
    session.say("Hello")
    session.answer(usage=False)
    session.conversation.interrupt(ProviderError(type="x", message="y"))
    assert session.ends() == [("completed", False)]


def test_usage_without_a_turn_is_recorded(session: Session) -> None:
    session.server({"usageMetadata": USAGE})
    session.conversation.on_end(by_client=True)
    assert session.tokens() == [(10, 4)]


@pytest.mark.parametrize("from_client", [True, False])
@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"{}", b'{"setup":1}', b'{"x":{}}'])
def test_any_message_is_relayed(session: Session, content: bytes, from_client: bool) -> None:
    session.conversation.on_message(content, from_client=from_client)
    session.conversation.on_end(by_client=True)
    assert session.ends() == []


def test_message_that_can_be_read_as_a_request_is_refused_like_others() -> None:
    session = Session()
    session.refuses = True
    for message in (
        b'{"clientContent":{"turnComplete":true},"clientContent":{}}',
        b'{"clientContent":{},"clientContent":{"turnComplete":true}}',
    ):
        with pytest.raises(RefusedError):
            session.conversation.on_message(message, from_client=True)


@pytest.mark.parametrize(
    ("message", "lets_begin"),
    [
        (b'{"realtimeInput":{"text":"Hello"}}', True),
        (b'{"realtime_input":{"audio":{"data":"AAAA"}}}', True),
        (b'{"clientContent":{"turns":[]}}', False),
        (b'{"setup":{}}', False),
    ],
)
def test_speech_lets_the_provider_begin_a_turn(message: bytes, lets_begin: bool) -> None:
    given = members(message)
    assert given
    assert bool(Session().conversation.may_follow(given)) is lets_begin


def second(rate: str, size: int) -> dict[str, str]:
    return {"mimeType": f"audio/{rate}", "data": "A" * (size * 4 // 3)}


@pytest.mark.parametrize(
    "given",
    [
        {"audio": second("pcm;rate=16000", 32_000)},
        {"audio": second("pcm", 32_000)},
        {"audio": second("pcm;rate=24000", 48_000)},
        {"audio": second("ogg", 8_000)},
        {"mediaChunks": [second("pcm;rate=16000", 16_000)] * 2},
        {"media_chunks": [second("pcm;rate=16000", 32_000)]},
    ],
)
def test_turn_hears_the_audio_since_the_last_and_the_session_again(
    session: Session, given: dict[str, Any]
) -> None:
    for _ in range(2):
        for _ in range(3):
            session.client({"realtimeInput": given})
        session.client({"realtimeInput": {"video": {"mimeType": "image/jpeg", "data": "AAAA"}}})
        session.answer()
    assert [spoken.audio_tokens for spoken in session.spoken] == [96, 96]
    assert [spoken.video_tokens for spoken in session.spoken] == [258, 258]
    assert [spoken.context_tokens for spoken in session.spoken] == [0, 14]


def test_turn_is_answered_as_its_set_up_says(session: Session) -> None:
    config = {"responseModalities": ["AUDIO"], "maxOutputTokens": 700}
    session.client({"setup": {"model": "m", "generationConfig": config}})
    request = session.conversation.complete({})
    assert gemini_live.FORMAT.spoken_input(request).is_answered_in_audio
    assert gemini_live.FORMAT.output_limit(request) == 700
