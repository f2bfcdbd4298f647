"""OpenAI Responses over WebSocket: the response of each request, and its end."""

import json
from typing import Any

import pytest
from exchange_sessions import RecordedConversation

from aibridge_addon.exchange.conversation import RefusedError
from aibridge_addon.exchange.responses_websocket import ResponsesConversation
from aibridge_addon.facts import (
    Interception,
    InterceptionEnded,
    ProviderError,
    TokenUsage,
    UserPrompt,
)
from aibridge_addon.formats import openai_responses
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.raw_json import member, members, text


class Session(RecordedConversation):
    """A conversation and the facts that it publishes."""

    wire_format = openai_responses.FORMAT

    def __init__(self) -> None:
        super().__init__()
        self.conversation = ResponsesConversation(openai_responses.FORMAT, self.begin, self.begin)

    def client(self, kind: str, **members: Any) -> bool:
        return self.receive({"type": kind, **members}, from_client=True)

    def server(self, kind: str, **members: Any) -> bool:
        return self.receive({"type": kind, **members}, from_client=False)

    def answers(
        self, response_id: str, *, previous: str | None = None, tokens: int = 1, **members: Any
    ) -> bool:
        """Send a complete response; return True if it ended a request."""
        response = {"id": response_id, "previous_response_id": previous}
        assert not self.server("response.created", response=response, **members)
        usage = {"input_tokens": tokens, "output_tokens": 1}
        ended = {**response, "model": "gpt-5-mini", "usage": usage}
        return self.server("response.completed", response=ended, **members)

    @property
    def ends(self) -> list[InterceptionEnded | None]:
        """End of each interception, in the order of their starts; None while it is open."""
        ids = [fact.id for fact in self.facts if isinstance(fact, Interception)]
        ends = {e.interception.id: e for e in self.facts if isinstance(e, InterceptionEnded)}
        return [ends.get(each) for each in ids]

    @property
    def statuses(self) -> list[str | None]:
        return [end.status.value if end else None for end in self.ends]

    @property
    def only_end(self) -> InterceptionEnded:
        """End of the only interception."""
        (end,) = self.ends
        assert end
        return end

    @property
    def tokens(self) -> dict[str | None, int | None]:
        """Input tokens by response id."""
        usages = [fact for fact in self.facts if isinstance(fact, TokenUsage)]
        return {usage.provider_response_id: usage.input_tokens for usage in usages}

    @property
    def prompts(self) -> list[str]:
        return [fact.prompt for fact in self.facts if isinstance(fact, UserPrompt)]


def ask(session: Session, text: object = "hi", **members: Any) -> None:
    session.client("response.create", **{"model": "gpt-5", "input": text, **members})


def test_responses_of_a_lane_belong_to_its_requests_in_order() -> None:
    session = Session()
    for said in ("one", "two"):
        ask(session, said)
    ask(session, "three", stream_id="b")

    assert session.answers("r-3", tokens=3, stream_id="b")
    assert session.answers("r-1", tokens=1)
    assert session.statuses == ["completed", None, "completed"]
    assert session.answers("r-2", tokens=2)

    assert session.tokens == {"r-1": 1, "r-2": 2, "r-3": 3}
    assert [end.provider_response_id for end in session.ends if end] == ["r-1", "r-2", "r-3"]


def test_conversation_is_responding_until_the_last_response_of_every_lane() -> None:
    session = Session()
    conversation = session.conversation
    assert not conversation.is_responding
    session.client("response.create", stream_id="a")
    session.client("response.create", stream_id="b")
    session.answers("resp_1", stream_id="a")
    assert conversation.is_responding
    session.answers("resp_2", stream_id="b")
    assert not conversation.is_responding


def test_time_to_first_event_is_recorded() -> None:
    session = Session()
    ask(session)
    session.answers("r-1")

    end = session.only_end
    assert end.seconds_to_first_byte is not None
    assert 0 <= end.seconds_to_first_byte <= end.seconds
    assert not end.partial


@pytest.mark.parametrize(
    ("frame", "status", "kind"),
    [
        ({"status": 429, "error": {"type": "usage_limit_reached", "message": "No more."}}, 429,
         "usage_limit_reached"),
        ({"status": 400, "error": {"code": "previous_response_not_found"}}, 400,
         "previous_response_not_found"),
        ({"code": "server_error", "message": "Oh."}, 101, "server_error"),
        ({"status": "odd", "error": {"message": "Oh."}}, 101, None),
    ],
)  # fmt: skip
def test_error_message_ends_the_first_open_request(
    frame: dict[str, Any], status: int, kind: str | None
) -> None:
    session = Session()
    ask(session)

    assert session.server("error", **frame)

    end = session.only_end
    assert (end.status, end.http_status, end.error_type) == ("failed", status, kind)
    ask(session)
    assert session.answers("r-2")
    assert session.statuses == ["failed", "completed"]


def test_message_without_an_open_request_is_no_response() -> None:
    session = Session()

    assert not session.server("response.created", response={"id": "r-0"})
    ask(session)
    session.answers("r-1")
    assert not session.server("codex.rate_limits")
    assert not session.server("error", status=400, error={"code": "websocket_connection_limit"})
    for content in (b"", b"[]", b"\xff", b'{"type": 1}', b'"response.create"'):
        for from_client in (True, False):
            assert not session.conversation.on_message(content, from_client=from_client)

    assert session.statuses == ["completed"]


def test_response_that_follows_steering_is_recorded_with_the_steering_text() -> None:
    session = Session()
    ask(session, "Go", prompt_cache_key="thread")
    session.server("response.created", response={"id": "r-1"})
    steering = [{"role": "user", "content": [{"type": "input_text", "text": "Stop"}]}]
    session.client("response.steer", previous_response_id="r-1", input=steering)
    session.client("response.steer", previous_response_id="r-1", input="now!")
    session.server("response.steer.accepted", steer={"id": "s"})
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert session.server("response.incomplete", response={"id": "r-1", "usage": usage})

    assert session.answers("r-2", previous="r-1", tokens=2)

    assert session.tokens == {"r-1": 1, "r-2": 2}
    assert session.prompts == ["Go", "Stop\nnow!"]
    assert session.asked[1].model == "gpt-5"
    assert session.asked[1].session_hint == "thread"


def test_response_that_may_follow_steering_has_the_model_of_its_lane() -> None:
    session = Session()
    ask(session, "Go", stream_id="a")
    ask(session, "Go", model="gpt-5-mini", stream_id="b")

    def models(kind: str, **more: str) -> list[str | None]:
        message = members(json.dumps({"type": kind, "input": "now!", **more}).encode())
        assert message
        following = session.conversation.may_follow(message)
        return [text(member(request, "model")) for request in following]

    assert models("response.steer", stream_id="b") == ["gpt-5-mini"]
    assert models("response.steer") == ["gpt-5", "gpt-5-mini"]
    assert models("response.cancel") == []


def test_steering_is_added_to_the_request_with_the_tool_result() -> None:
    session = Session()
    ask(session, "Go")
    session.answers("r-1")
    session.client("response.steer", previous_response_id="r-1", input="Be quick")
    output = [{"type": "function_call_output", "call_id": "c-1", "output": "42"}]

    ask(session, output, previous_response_id="r-1")

    assert session.prompts == ["Go", "Be quick"]
    assert session.asked[1].correlating_tool_call_id == "c-1"


def test_end_of_a_connection_ends_each_open_request_once() -> None:
    for by_client, status in ((True, "cancelled"), (False, "failed")):
        session = Session()
        for lane in ("a", "a", "b"):
            ask(session, stream_id=lane)
        session.server(
            "response.output_item.done",
            output_index=0,
            item={"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"},
            stream_id="b",
        )

        session.conversation.on_end(by_client=by_client)
        session.conversation.interrupt(ProviderError(type="shut_down", message=None))

        assert session.statuses == [status] * 3
        assert all(end and end.partial for end in session.ends)
        assert "f" in [getattr(fact, "tool", None) for fact in session.facts]


def test_refused_request_raises_and_has_no_open_response() -> None:
    def begin(request: Members, message: bytes) -> InterceptionRecord:
        raise RefusedError(b"no")

    conversation = ResponsesConversation(openai_responses.FORMAT, begin, begin)

    with pytest.raises(RefusedError) as refused:
        conversation.on_message(b'{"type":"response.create"}', from_client=True)

    assert refused.value.message == b"no"
    conversation.on_end(by_client=True)


@pytest.mark.parametrize(
    "message",
    [b'{"type":"response.cancel"}', b'{"Type":"response.create"}', b"[]", b"{}", b"no JSON", b""],
)
def test_message_that_is_no_request_is_checked_unchanged(message: bytes) -> None:
    checked: list[bytes] = []
    begin = Session().begin
    conversation = ResponsesConversation(openai_responses.FORMAT, begin, begin, checked.append)

    conversation.on_message(message, from_client=True)
    conversation.on_message(b'{"type":"response.create"}', from_client=True)
    conversation.on_message(message, from_client=False)

    assert checked == [message]


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"response.create","type":"response.cancel"}',
        b'{"type":"response.cancel","type":"response.create"}',
    ],
)
def test_message_that_can_be_read_as_a_request_is_one(message: bytes) -> None:
    session = Session()
    session.conversation.on_message(message, from_client=True)
    session.conversation.on_end(by_client=True)
    ends = [fact for fact in session.facts if isinstance(fact, InterceptionEnded)]
    assert [end.status.value for end in ends] == ["cancelled"]


def test_record_of_a_request_begins_with_its_message() -> None:
    begun: list[bytes] = []
    session = Session()

    def begin(request: Members, message: bytes) -> InterceptionRecord:
        begun.append(message)
        return session.begin(request, message)

    conversation = ResponsesConversation(openai_responses.FORMAT, begin, begin)
    asked = b'{"model": "a", "type":"response.create", "model":"b"}'
    conversation.on_message(asked, from_client=True)

    assert begun == [asked]
