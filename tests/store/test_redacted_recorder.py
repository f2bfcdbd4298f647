"""Facts for a third-party recorder: in order, without secrets, and bodies only as a whole."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from store.doubles import all_of_one, prompt, record, request_content, response_content, started

from aibridge_addon.config.capture import CAPTURABLE
from aibridge_addon.redaction import Redaction
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.redacted_recorder import RedactedRecorder

BOUND = 10.0
KEY = "sk-ant-api03-0123456789abcdef"
MARK = "[redacted: Anthropic key]"
RESPONSE = {"id": "msg_1", "type": "message", "content": [{"type": "text", "text": f"Use {KEY}"}]}


class Collecting(Recorder):
    """Collects facts; fails for one prompt."""

    def __init__(self) -> None:
        self.facts: list[Any] = []
        self.is_closed = False

    def _collect(self, fact: Any) -> None:
        if getattr(fact, "prompt", "") == "fail":
            raise RuntimeError("a bug of the recorder")
        self.facts.append(fact)

    record_interception = record_interception_ended = record_token_usage = _collect
    record_prompt_usage = record_tool_usage = record_model_thought = _collect
    record_request_content = record_response_content = _collect

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
async def pair() -> AsyncIterator[tuple[RedactedRecorder, Collecting]]:
    inner = Collecting()
    recorder = RedactedRecorder(inner, Redaction())
    recorder.start()
    yield recorder, inner
    recorder.close()


type Pair = tuple[RedactedRecorder, Collecting]


async def kept(recorder: RedactedRecorder) -> bool:
    return await asyncio.wait_for(recorder.kept(), BOUND)


async def test_facts_arrive_in_their_order_before_they_count_as_kept(pair: Pair) -> None:
    recorder, inner = pair
    facts = [fact for _ in range(20) for fact in all_of_one(started())]

    record(recorder, *facts)

    assert await kept(recorder)
    assert inner.facts == facts
    assert await kept(recorder)


async def test_secrets_are_cut_out_of_facts_and_bodies(pair: Pair) -> None:
    recorder, inner = pair
    interception = started()

    record(
        recorder,
        prompt(interception, f"Use {KEY}"),
        request_content(interception, {"messages": [{"role": "user", "content": KEY}]}),
        response_content(interception, RESPONSE),
    )

    assert await kept(recorder)
    typed, request, response = inner.facts
    assert typed.prompt == f"Use {MARK}"
    assert json.loads(request.body) == {"messages": [{"role": "user", "content": MARK}]}
    assert json.loads(response.body)["content"] == [{"type": "text", "text": f"Use {MARK}"}]


@pytest.mark.parametrize(
    ("words", "number"),
    [("all", 2), ("requests", 1), ("answers,tools", 0), ("system,results", 0)],
)
async def test_bodies_arrive_only_if_all_of_them_may_be_recorded(
    pair: Pair, words: str, number: int
) -> None:
    recorder, inner = pair
    capture = frozenset(CAPTURABLE if words == "all" else words.split(","))

    record(
        recorder,
        request_content(started(), {"messages": []}, capture=capture),
        response_content(started(), RESPONSE, capture=capture),
    )

    assert await kept(recorder)
    assert len(inner.facts) == number


async def test_bug_of_a_recorder_loses_no_other_fact(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, inner = pair
    interception = started()

    record(recorder, interception, prompt(interception, "fail"), prompt(interception, "next"))

    assert await kept(recorder)
    assert [getattr(fact, "prompt", None) for fact in inner.facts] == [None, "next"]
    assert f"a fact of interception {interception.id} is lost" in caplog.text


async def test_pending_facts_arrive_before_the_recorder_is_closed() -> None:
    inner = Collecting()
    recorder = RedactedRecorder(inner, Redaction())
    recorder.start()
    facts = all_of_one(started())

    record(recorder, *facts)
    recorder.close()

    assert inner.facts == list(facts)
    assert inner.is_closed
