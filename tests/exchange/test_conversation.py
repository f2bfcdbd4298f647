"""A conversation over a WebSocket: which answer belongs to which request, and how each ends."""

import json

import pytest
from store.doubles import started

from aibridge_addon.config.option_values import CAPTURABLE
from aibridge_addon.exchange.conversation import Conversation, RefusedError
from aibridge_addon.facts import (
    Interception,
    InterceptionEnded,
    ProviderError,
    TokenUsage,
    UserPrompt,
    new_id,
)
from aibridge_addon.formats import RequestView, openai_responses
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.interception import InterceptionRecord


class Spoken:
    """A conversation and what it publishes."""

    def __init__(self):
        self.facts = []
        self.asked = []
        self.conversation = Conversation(openai_responses.FORMAT, self._begin)

    def _begin(self, request, message):
        facts = openai_responses.FORMAT.read_request(RequestView(members=request))
        self.asked.append(facts)
        record = InterceptionRecord(
            started(id=new_id(), model=facts.model),
            publish=self.facts.append,
            capture=frozenset(CAPTURABLE),
        )
        record.begin(typed_text(part for parts in facts.user_texts for part in parts))
        return record

    def client(self, kind, **members):
        content = json.dumps({"type": kind, **members}).encode()
        return self.conversation.on_message(content, from_client=True)

    def server(self, kind, **members):
        content = json.dumps({"type": kind, **members}).encode()
        return self.conversation.on_message(content, from_client=False)

    def answers(self, response_id, *, previous=None, tokens=1, **members):
        """The provider answers; return whether that ended an answer."""
        response = {"id": response_id, "previous_response_id": previous}
        assert not self.server("response.created", response=response, **members)
        usage = {"input_tokens": tokens, "output_tokens": 1}
        ended = {**response, "model": "gpt-5-mini", "usage": usage}
        return self.server("response.completed", response=ended, **members)

    @property
    def ends(self):
        """How each interception ended, in the order of their beginnings."""
        ids = [fact.id for fact in self.facts if isinstance(fact, Interception)]
        ends = {e.interception.id: e for e in self.facts if isinstance(e, InterceptionEnded)}
        return [ends.get(each) for each in ids]

    @property
    def statuses(self):
        return [end and end.status.value for end in self.ends]

    @property
    def tokens(self):
        """Input tokens and response by response."""
        usages = [fact for fact in self.facts if isinstance(fact, TokenUsage)]
        return {usage.provider_response_id: usage.input_tokens for usage in usages}

    @property
    def prompts(self):
        return [fact.prompt for fact in self.facts if isinstance(fact, UserPrompt)]


def ask(spoken, said="hi", **members):
    spoken.client("response.create", model="gpt-5", input=said, **members)


def test_answers_come_in_the_order_of_the_requests_of_their_lane():
    spoken = Spoken()
    for said in ("one", "two"):
        ask(spoken, said)
    ask(spoken, "three", stream_id="b")

    assert spoken.answers("r-3", tokens=3, stream_id="b")
    assert spoken.answers("r-1", tokens=1)
    assert spoken.statuses == ["completed", None, "completed"]
    assert spoken.answers("r-2", tokens=2)

    assert spoken.tokens == {"r-1": 1, "r-2": 2, "r-3": 3}
    assert [end.provider_response_id for end in spoken.ends] == ["r-1", "r-2", "r-3"]


def test_the_time_to_the_first_event_is_of_the_answer():
    spoken = Spoken()
    ask(spoken)
    spoken.answers("r-1")

    (end,) = spoken.ends
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
def test_an_error_ends_the_request_that_is_being_answered(frame, status, kind):
    spoken = Spoken()
    ask(spoken)

    assert spoken.server("error", **frame)

    (end,) = spoken.ends
    assert (end.status, end.http_status, end.error_type) == ("failed", status, kind)
    ask(spoken)
    assert spoken.answers("r-2")
    assert spoken.statuses == ["failed", "completed"]


def test_what_comes_while_nobody_has_asked_is_no_answer():
    spoken = Spoken()

    assert not spoken.server("response.created", response={"id": "r-0"})
    ask(spoken)
    spoken.answers("r-1")
    assert not spoken.server("codex.rate_limits")
    assert not spoken.server("error", status=400, error={"code": "websocket_connection_limit"})
    for content in (b"", b"[]", b"\xff", b'{"type": 1}', b'"response.create"'):
        for from_client in (True, False):
            assert not spoken.conversation.on_message(content, from_client=from_client)

    assert spoken.statuses == ["completed"]


def test_an_answer_that_follows_by_steering_is_recorded_with_what_was_said():
    spoken = Spoken()
    ask(spoken, "Go", prompt_cache_key="thread")
    spoken.server("response.created", response={"id": "r-1"})
    steering = [{"role": "user", "content": [{"type": "input_text", "text": "Stop"}]}]
    spoken.client("response.steer", previous_response_id="r-1", input=steering)
    spoken.client("response.steer", previous_response_id="r-1", input="now!")
    spoken.server("response.steer.accepted", steer={"id": "s"})
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert spoken.server("response.incomplete", response={"id": "r-1", "usage": usage})

    assert spoken.answers("r-2", previous="r-1", tokens=2)

    assert spoken.tokens == {"r-1": 1, "r-2": 2}
    assert spoken.prompts == ["Go", "Stop\nnow!"]
    assert spoken.asked[1].model == "gpt-5"
    assert spoken.asked[1].session_hint == "thread"


def test_steering_that_waits_for_a_tool_is_said_with_its_result():
    spoken = Spoken()
    ask(spoken, "Go")
    spoken.answers("r-1")
    spoken.client("response.steer", previous_response_id="r-1", input="Be quick")
    output = [{"type": "function_call_output", "call_id": "c-1", "output": "42"}]

    ask(spoken, output, previous_response_id="r-1")

    assert spoken.prompts == ["Go", "Be quick"]
    assert spoken.asked[1].correlating_tool_call_id == "c-1"


def test_the_end_of_a_connection_ends_all_that_is_open_once():
    for by_client, status in ((True, "cancelled"), (False, "failed")):
        spoken = Spoken()
        for lane in ("a", "a", "b"):
            ask(spoken, stream_id=lane)
        spoken.server(
            "response.output_item.done",
            output_index=0,
            item={"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"},
            stream_id="b",
        )

        spoken.conversation.on_end(by_client=by_client)
        spoken.conversation.interrupt(ProviderError(type="shut_down", message=None))

        assert spoken.statuses == [status] * 3
        assert all(end.partial for end in spoken.ends)
        assert "f" in [getattr(fact, "tool", None) for fact in spoken.facts]


def test_a_refused_request_is_told_and_waits_for_no_answer():
    def begin(request, message):
        raise RefusedError(b"no")

    conversation = Conversation(openai_responses.FORMAT, begin)

    with pytest.raises(RefusedError) as refused:
        conversation.on_message(b'{"type":"response.create"}', from_client=True)

    assert refused.value.message == b"no"
    conversation.on_end(by_client=True)


@pytest.mark.parametrize(
    "message",
    [b'{"type":"response.cancel"}', b'{"Type":"response.create"}', b"[]", b"{}", b"no JSON", b""],
)
def test_what_is_no_request_is_checked_as_it_was_written(message):
    checked = []
    conversation = Conversation(openai_responses.FORMAT, Spoken()._begin, checked.append)

    conversation.on_message(message, from_client=True)
    conversation.on_message(b'{"type":"response.create"}', from_client=True)
    conversation.on_message(message, from_client=False)

    assert checked == [message]


def test_a_request_is_begun_with_what_was_written_of_it():
    begun = []
    spoken = Spoken()

    def begin(request, message):
        begun.append(message)
        return spoken._begin(request, message)

    conversation = Conversation(openai_responses.FORMAT, begin)
    asked = b'{"model": "a", "type":"response.create", "model":"b"}'
    conversation.on_message(asked, from_client=True)

    assert begun == [asked]
