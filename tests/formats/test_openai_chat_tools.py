import json
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.openai_chat import FORMAT
from aibridge_addon.raw_json import elements
from formats.helpers import STREAMS, Scenario, every, parse, read_stream, thorough, tools_of
from formats.inner_loop import (
    IMAGE,
    NAMES,
    TOOLS,
    called,
    loop,
    merge,
    request,
    restored,
    result,
    sdk_sees,
    sequence_of,
    splice,
    tool,
    values,
)

NAME = "openai_chat"
api = tools_of(NAME)
DONE = b"data: [DONE]\n\n"

# Answers


def call(call_id: str | None, name: str = "bmcp_s_look", given: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}


HIDDEN = call("call_hid", "bmcp_s_look", '{"at": "it"}')
HIDDEN_TOO = call("call_hid2", "bmcp_s_find", '{"q":"é"}')
OWN = call("call_own", "weather", '{"city": "Oslo"}')
OWN_TOO = call("call_own2", "clock", "")


def answer(
    content: str | None,
    *calls: dict[str, Any],
    number: int = 1,
    finish: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A completion; each further one has read more and written 10 tokens times its number."""
    message: dict[str, Any] = {"role": "assistant", "content": content, **more}
    if calls:
        message["tool_calls"] = list(calls)
    finish = finish or ("tool_calls" if calls else "stop")
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_790_000_000 + number,
        "model": "gpt",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage(100 * number, 10 * number),
    }


def usage(given: int, written: int) -> dict[str, Any]:
    return {
        "prompt_tokens": given,
        "completion_tokens": written,
        "total_tokens": given + written,
        "prompt_tokens_details": {"cached_tokens": 64},
    }


class Host:
    """A way to stream a completion."""

    def __init__(
        self,
        *,
        index: Callable[[int], int | None] = lambda place: place,
        whole: bool = False,
        finish_alone: bool = True,
        usage_at: str = "a chunk of its own",
        role_always: bool = False,
        done: bool = True,
        preamble: bool = False,
        ids: bool = True,
    ) -> None:
        self.index = index
        self.whole = whole
        self.finish_alone = finish_alone
        self.usage_at = usage_at
        self.role_always = role_always
        self.done = done
        self.preamble = preamble
        self.ids = ids

    def stream(self, completion: dict[str, Any]) -> bytes:
        chunks = list(self._chunks(completion))
        if self.preamble:
            chunks.insert(0, {"id": "", "created": 0, "model": "", "choices": [], "filters": []})
        out = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
        return out + (DONE if self.done else b"")

    def _chunks(self, completion: dict[str, Any]) -> Iterator[dict[str, Any]]:
        [choice] = completion["choices"]
        role = {"role": "assistant"}
        deltas = list(self._deltas(choice["message"]))
        if not self.whole:
            deltas.insert(0, {"content": None if choice["message"].get("tool_calls") else ""})
        deltas = deltas or [{}]
        if self.finish_alone:
            deltas.append({})
        finish = choice["finish_reason"]
        for place, delta in enumerate(deltas):
            is_last = place == len(deltas) - 1
            shown = role | delta if place == 0 or self.role_always else delta
            yield self._chunk(completion, shown, finish if is_last else None)
        if self.usage_at == "a chunk of its own":
            yield {**self._envelope(completion), "choices": [], "usage": completion["usage"]}
        elif self.usage_at == "a chunk after the finish":
            yield {**self._chunk(completion, role | {"content": ""}), "usage": completion["usage"]}

    def _deltas(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for field in ("reasoning_content", "reasoning", "refusal", "content"):
            if message.get(field):
                half = len(message[field]) // 2
                yield {field: message[field][:half]}
                yield {field: message[field][half:]}
        if details := message.get("reasoning_details"):
            yield from ({"reasoning_details": [detail]} for detail in details)
        if self.whole:
            calls = [self._call(n, c) for n, c in enumerate(message.get("tool_calls", ()))]
            yield from [{"tool_calls": calls}] if calls else []
            return
        for place, whole in enumerate(message.get("tool_calls", ())):
            text = whole["function"]["arguments"]
            start = {**whole, "function": {**whole["function"], "arguments": ""}}
            yield {"tool_calls": [self._call(place, start)]}
            for part in (text[:3], text[3:]):
                yield {"tool_calls": [self._call(place, {"function": {"arguments": part}})]}

    def _call(self, place: int, given: dict[str, Any]) -> dict[str, Any]:
        index = self.index(place)
        shown = {k: v for k, v in given.items() if self.ids or k != "id"}
        return shown if index is None else {"index": index, **shown}

    def _chunk(self, completion: Any, delta: Any, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._envelope(completion), "choices": [choice]}
        where = self.usage_at
        if where == "every chunk" or (finish and where == "the finish chunk"):
            chunk["usage"] = completion["usage"]
        elif finish and where == "x_groq":
            chunk["x_groq"] = {"id": "req_1", "usage": completion["usage"]}
        elif finish and where == "the choice":
            choice["usage"] = completion["usage"]
        return chunk

    def _envelope(self, completion: dict[str, Any]) -> dict[str, Any]:
        named = {k: completion[k] for k in ("id", "created", "model")}
        return {**named, "object": "chat.completion.chunk"}


OPENAI = Host()
HOSTS = {
    "as OpenAI": OPENAI,
    "whole calls in one chunk": Host(whole=True),
    "all in one chunk with its end": Host(whole=True, finish_alone=False),
    "index from one": Host(index=lambda place: place + 1),
    "index with gaps": Host(index=lambda place: 3 * place + 2),
    "content with the finish": Host(finish_alone=False),
    "usage on the finish chunk": Host(usage_at="the finish chunk"),
    "usage on every chunk": Host(usage_at="every chunk"),
    "usage after the finish": Host(usage_at="a chunk after the finish", role_always=False),
    "usage under x_groq": Host(usage_at="x_groq"),
    "usage in the choice": Host(usage_at="the choice"),
    "no usage": Host(usage_at=""),
    "no DONE": Host(done=False),
    "a preamble": Host(preamble=True),
    "one index for all": Host(index=lambda place: 0),
    "no index": Host(index=lambda place: None),
    "no index, whole": Host(index=lambda place: None, whole=True),
    "neither index nor id": Host(index=lambda place: None, whole=True, ids=False),
    "a role on every chunk": Host(role_always=True),
}
LOOSE = ("one index for all", "no index", "no index, whole", "neither index nor id")
"""Hosts whose calls the SDK cannot tell apart; clients that can must be able to go on so."""
NO_SUM = ("no usage", "usage under x_groq", "usage in the choice")
"""Hosts that do not tell usage where the SDK looks for it."""


def check(stream: bytes, *hidden: str, indexes: bool = True, roles: bool = True) -> None:
    """The stream is one completion, and nothing in it tells of what is hidden."""
    for word in (*NAMES, *hidden):
        assert word.encode() not in stream
    events = parse([stream])
    assert [e.data for e in events[:-1]].count(b"[DONE]") == 0
    chunks = [c for c in values(stream) if c["choices"] or "usage" in c]
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    choices = [c["choices"][0] for c in chunks if c["choices"]]
    finished = [place for place, choice in enumerate(choices) if choice["finish_reason"]]
    assert len(finished) == 1
    assert not any(_says(choice["delta"]) for choice in choices[finished[0] + 1 :])
    assert choices[0]["delta"]["role"] == "assistant"
    assert not roles or not any("role" in choice["delta"] for choice in choices[1:])
    assert all(c["choices"] for c in chunks[:-1])
    seen: set[int] = set()
    for choice in choices if indexes else ():
        for fragment in choice["delta"].get("tool_calls", ()):
            if fragment["index"] not in seen:
                assert fragment["index"] == max(seen, default=fragment["index"] - 1) + 1
                assert fragment["function"]["name"]
                seen.add(fragment["index"])
            else:
                assert "name" not in fragment["function"]


def _says(delta: dict[str, Any]) -> bool:
    return any(value for name, value in delta.items() if name != "role")


def readable(completion: Any) -> Any:
    """Return the members of a completion that were sent, without defaults of the SDK's types."""
    [choice] = completion["choices"]
    message = {k: v for k, v in choice["message"].items() if v and k != "parsed"}
    for each in message.get("tool_calls", ()):
        each.pop("index", None)
        each["function"].pop("parsed_arguments", None)
    return {
        "id": completion["id"],
        "message": message,
        "finish_reason": choice["finish_reason"],
        "usage": {k: v for k, v in (completion.get("usage") or {}).items() if v is not None},
    }


def seen_by_reader(stream: bytes) -> Any:
    facts = read_stream(FORMAT, [stream])
    assert facts.complete
    assert facts.unreadable == 0
    return facts


def compare(answers: list[dict[str, Any]], host: Host = OPENAI, *, name: str = "as OpenAI") -> Any:
    """Streamed and whole, the answers give the client the same message, and us the same turns."""
    spliced = splice(NAME, [host.stream(each) for each in answers])
    merged, turns = merge(NAME, deepcopy(answers))
    loose = name in LOOSE
    check(
        spliced.stream,
        "call_hid",
        indexes=not loose and "index" not in name,
        roles=not host.role_always and name != "usage after the finish",
    )
    for streamed, whole in zip(spliced.turns, turns, strict=True):
        if host.ids:
            assert streamed.calls == whole.calls
            assert streamed.client_calls == whole.client_calls
        assert streamed.text == whole.text
    if host.ids:
        assert [tidy(turn.items) for turn in spliced.turns] == [tidy(turn.items) for turn in turns]
    facts = seen_by_reader(spliced.stream)
    expected = FORMAT.read_whole(json.dumps(merged).encode())
    assert [c.tool for c in facts.tool_calls] == [c.tool for c in expected.tool_calls]
    assert [c.input for c in facts.tool_calls] == [c.input for c in expected.tool_calls]
    assert facts.thoughts == expected.thoughts
    if name != "no usage":
        assert facts.usage is not None
        assert expected.usage is not None
        assert facts.usage.output_tokens == expected.usage.output_tokens
        assert facts.usage.input_tokens == expected.usage.input_tokens
    if loose or "index" in name or host.role_always:
        return readable(merged)
    seen = readable(sdk_sees(NAME, spliced.stream))
    if name in NO_SUM:
        seen["usage"] = readable(merged)["usage"]
    if name == "usage after the finish":
        seen["message"]["role"] = "assistant"
    assert seen == readable(merged)
    return seen


def tidy(items: Any) -> Any:
    return [{k: v for k, v in item.items() if v} for item in items]


SHAPES = {
    "a call alone": [answer(None, HIDDEN), answer("Done.")],
    "a call after a text": [answer("Looking. ", HIDDEN), answer("Done.")],
    "several calls": [answer(None, HIDDEN, HIDDEN_TOO), answer("Done.")],
    "several answers": [
        answer("A.", HIDDEN), answer(None, HIDDEN), answer("B.", HIDDEN_TOO), answer("C."),
    ],
    "a call without arguments": [answer(None, call("call_hid", given="")), answer("Done.")],
    "reasoning": [
        answer("A.", HIDDEN, reasoning_content="Hm. "), answer("B.", reasoning_content="So."),
    ],
    "an own call after it": [answer("Both.", HIDDEN, OWN)],
    "an own call before it": [answer(None, OWN, HIDDEN)],
    "own calls around it": [answer(None, OWN, HIDDEN, OWN_TOO)],
    "own calls between": [answer(None, HIDDEN, OWN, HIDDEN_TOO, OWN_TOO)],
    "own calls later": [answer(None, HIDDEN), answer("You.", OWN, OWN_TOO)],
    "both later": [answer(None, HIDDEN), answer("You.", HIDDEN_TOO, OWN)],
    "nothing more to say": [answer("Looking.", HIDDEN), answer("")],
    "a refusal": [answer(None, HIDDEN), answer(None, refusal="I will not.")],
    "stopped with calls": [answer(None, HIDDEN, finish="stop"), answer("Done.")],
}  # fmt: skip


def numbered(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**each, "id": f"chatcmpl-{n}", "created": n, "usage": usage(100 * n, 10 * n)}
        for n, each in enumerate(json.loads(json.dumps(list(answers))), 1)
    ]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_client_sees_one_completion(shape: list[dict[str, Any]], host: str) -> None:
    answers = numbered(shape)
    seen = compare(answers, HOSTS[host], name=host)
    messages = [each["choices"][0]["message"] for each in answers]
    own = [c for m in messages for c in m.get("tool_calls", ()) if c["id"].startswith("call_own")]
    assert seen["id"] == "chatcmpl-1"
    assert seen["message"].get("content", "") == "".join(m["content"] or "" for m in messages)
    assert seen["message"].get("tool_calls", []) == own
    assert seen["finish_reason"] == answers[-1]["choices"][0]["finish_reason"]
    count = len(answers)
    assert seen["usage"] == usage(100 * count, sum(10 * n for n in range(1, count + 1)))


texts = st.none() | st.text(max_size=6)
arguments = st.dictionaries(st.text(max_size=3), st.integers(-9, 9), max_size=2).map(json.dumps)
hidden_calls = st.builds(call, st.just("call_hid"), st.sampled_from(sorted(NAMES)), arguments)
own_calls = st.builds(call, st.just("call_own"), st.sampled_from(["weather", "clock"]), arguments)


@st.composite
def answers_on_end(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Answers of one loop: injected calls in all but the last, where they stand beside others."""
    answers = []
    for _ in range(draw(st.integers(0, 3))):
        calls = draw(st.lists(hidden_calls, min_size=1, max_size=3))
        answers.append(answer(draw(texts), *calls, reasoning=draw(texts)))
    last = draw(st.lists(own_calls | hidden_calls, max_size=4))
    answers.append(answer(draw(texts), *last))
    answers = numbered(answers)
    ids = iter(range(99))
    for each in answers:
        for own_or_not in each["choices"][0]["message"].get("tool_calls", ()):
            own_or_not["id"] += str(next(ids))
    return answers


@thorough
@given(answers_on_end(), st.sampled_from(sorted(set(HOSTS) - set(LOOSE))))
def test_any_responses_give_one_message_the_same_streamed_and_whole(
    answers: list[dict[str, Any]], host: str
) -> None:
    compare(answers, HOSTS[host], name=host)


FINAL = Scenario(api=NAME, name="text")
CALLING = [scenario for scenario in STREAMS if scenario.api == NAME and called(scenario)]
CALLING = [s for s in CALLING if s.response_facts().complete and s.name != "legacy_function_call"]


@every(CALLING)
@given(st.data())
def test_calls_of_any_scenario_can_be_hidden(scenario: Scenario, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(called(scenario)), min_size=1))
    spliced = splice(NAME, [scenario.stream(), FINAL.stream()], frozenset(names))
    if not spliced.turns[0].calls or spliced.turns[0].client_calls:
        spliced = splice(NAME, [scenario.stream()], frozenset(names))
    facts = scenario.response_facts()
    ids = [c.call_id for c in facts.tool_calls if c.tool in names and c.call_id]
    check(spliced.stream, *ids, *(f'"{name}"' for name in names), indexes=False)
    shown = seen_by_reader(spliced.stream).tool_calls
    assert shown == tuple(c for c in facts.tool_calls if c.tool not in names)


def test_own_calls_keep_indexes_that_differ() -> None:
    host = HOSTS["index from one"]
    [shown] = [splice(NAME, [host.stream(answer(None, OWN, HIDDEN, OWN_TOO))]).stream]
    calls = [c for v in values(shown) if v["choices"]
             for c in v["choices"][0]["delta"].get("tool_calls", ())]  # fmt: skip
    assert {c["index"] for c in calls if "id" not in c} == {1, 2}
    assert [(c["index"], c["id"]) for c in calls if "id" in c] == [
        (1, "call_own"),
        (2, "call_own2"),
    ]


@pytest.mark.parametrize("stop", ["length", "content_filter"])
def test_call_that_was_cut_off_is_hidden_and_not_run(stop: str) -> None:
    message = answer("Look", call("call_hid", given='{"a'), finish=stop)
    spliced = splice(NAME, [OPENAI.stream(message)])
    check(spliced.stream, "call_hid")
    merged, [turn] = merge(NAME, [message])
    assert turn == spliced.turns[0]
    assert turn.calls == ()
    # A call without a result is not taken back.
    assert turn.items == ({"role": "assistant", "content": "Look"},)
    [choice] = merged["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Look"}
    assert b'"content":"Look"' not in spliced.stream  # as the host cut it: "Lo", "ok"


def test_broken_arguments_stay_text() -> None:
    _, [turn] = merge(NAME, [answer(None, call("call_hid", given='{"a'))])
    assert turn.calls[0].arguments == '{"a'


def test_arguments_may_be_an_object() -> None:
    given = call("call_hid")
    given["function"]["arguments"] = {"a": 1}
    _, [turn] = merge(NAME, [answer(None, given)])
    assert turn.calls[0].arguments == {"a": 1}


def test_calls_without_ids_get_some_for_their_results() -> None:
    message = answer("", call(None, given='{"a":1}'), call(""))
    streamed = splice(NAME, [Host(whole=True, ids=False).stream(message)]).turns
    _, whole = merge(NAME, [message])
    for [turn] in (streamed, whole):
        assert [c.call_id for c in turn.calls] == ["call_0", "call_1"]
        assert [c["id"] for c in turn.items[0]["tool_calls"]] == ["call_0", "call_1"]
    _, [turn] = merge(NAME, [answer("", HIDDEN, call(None, "weather"))])
    assert turn.client_calls == ("",)


SIGNATURE = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


def test_members_that_hosts_add_to_a_turn_are_sent_back() -> None:
    details = [{"type": "reasoning.encrypted", "data": "ZW5j", "index": 0}, {"type": "x"}]
    message = answer("A.", {**HIDDEN, **SIGNATURE}, reasoning="Hm.", reasoning_details=details)
    [streamed] = splice(NAME, [OPENAI.stream(message)]).turns
    _, [whole] = merge(NAME, [deepcopy(message)])
    assert streamed.items == whole.items == (message["choices"][0]["message"],)


def test_usage_that_the_client_did_not_ask_for_is_not_sent() -> None:
    # The chunk with the first answer's usage was kept from it, and so never came by here.
    first = Host(usage_at="").stream(answer(None, HIDDEN))
    stream = splice(NAME, [first, OPENAI.stream(answer("Done."))]).stream
    assert b"usage" not in stream
    check(stream)


def test_comments_are_relayed_from_every_response() -> None:
    comment = b": PROCESSING\n\n"
    both = [comment + OPENAI.stream(answer(None, HIDDEN)), comment + OPENAI.stream(answer("Done."))]
    stream = splice(NAME, both).stream
    assert stream.count(comment) == 2


def test_error_in_a_later_response_reaches_the_client_at_once() -> None:
    error = b'data: {"error":{"code":502,"message":"Gone."},"choices":[]}\n\n'
    splicer = api.splicer(NAMES)
    for one in parse([OPENAI.stream(answer(None, HIDDEN))]):
        splicer.feed(one, None if one.data == b"[DONE]" else json.loads(one.data or b""))
    splicer.resume()
    [one] = parse([error])
    assert splicer.feed(one, json.loads(one.data or b"")) == error


# Requests


def test_tools_stand_after_those_of_the_client() -> None:
    asked = request({"tools": [{"type": "function", "function": {"name": "weather"}}]})
    own = [bytes(own) for own in elements(asked["tools"])]
    assert api.inject(asked, TOOLS) == TOOLS
    assert [bytes(each) for each in elements(asked["tools"])][:1] == own
    assert [t["function"]["name"] for t in json.loads(bytes(asked["tools"]))] == [
        "weather", "bmcp_s_find", "bmcp_s_look",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_central_tool_with_the_name_of_a_client_tool_is_not_offered(kind: str) -> None:
    asked = request({"tools": [{"type": kind, kind: {"name": "bmcp_s_find"}}, {}, 7]})
    assert api.inject(asked, TOOLS) == (tool("bmcp_s_look"),)


@pytest.mark.parametrize(
    "refusing",
    [
        {"tool_choice": "none"},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tool_choice": {"type": "custom", "custom": {"name": "weather"}}},
        {"functions": [{"name": "f"}]},
        {"functions": []},
        {"function_call": {"name": "f"}},
        {"n": 2},
    ],
    ids=str,
)
def test_tools_are_not_offered_where_the_request_does_not_allow_them(
    refusing: dict[str, Any],
) -> None:
    asked = request({"model": "gpt", "tools": [], **refusing})
    before = dict(asked)
    assert api.inject(asked, TOOLS) == ()
    assert asked == before


@pytest.mark.parametrize("choice", ["auto", None], ids=str)
def test_tools_are_offered_where_the_model_may_choose(choice: Any) -> None:
    asked = request({"tool_choice": choice, "n": 1})
    assert api.inject(asked, TOOLS) == TOOLS


ASKED = {
    "model": "gpt",
    "messages": [
        {"role": "developer", "content": "Be good."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": [{"type": "text", "text": "Where is it?"}]},
    ],
}


def test_next_request_brings_the_turn_and_its_results() -> None:
    _, [turn] = merge(NAME, [answer("Looking.", HIDDEN, HIDDEN_TOO, reasoning_content="Hm.")])
    asked = request(ASKED)
    before = dict(asked)
    outcomes = [IMAGE, result("broken", is_error=True)]
    items = api.result_items(list(zip(turn.calls, outcomes, strict=True)))
    following = api.continue_request(asked, turn, items, last=False)
    assert asked == before
    raw = [bytes(element) for element in elements(following["messages"])]
    assert raw[:4] == [bytes(element) for element in elements(asked["messages"])]
    told = 'A map:\n[image/png image, 4 characters of base64]\n{"uri":"file:///x"}'
    assert [json.loads(element) for element in raw[4:]] == [
        {
            "role": "assistant",
            "content": "Looking.",
            "reasoning_content": "Hm.",
            "tool_calls": [HIDDEN, HIDDEN_TOO],
        },
        {"role": "tool", "tool_call_id": "call_hid", "content": told},
        {"role": "tool", "tool_call_id": "call_hid2", "content": "Error: broken"},
    ]
    assert following["model"] == asked["model"]
    assert set(following) == set(asked)


def test_last_request_of_a_loop_forbids_tool_calls() -> None:
    _, [turn] = merge(NAME, [answer(None, HIDDEN)])
    items = api.result_items([(turn.calls[0], result())])
    following = api.continue_request(request(ASKED), turn, items, last=True)
    assert json.loads(bytes(following["tool_choice"])) == "none"


# Later requests


def turns_of(shape: list[dict[str, Any]]) -> tuple[Any, list[Any]]:
    """Return the client's completion for some upstream responses, and their turns."""
    merged, turns = merge(NAME, numbered(shape))
    return merged["choices"][0]["message"], turns


def as_it_was(message: Any) -> Any:
    return message


def as_parts(message: Any) -> Any:
    said_aloud = message["content"]
    parts = [{"type": "text", "text": said_aloud}] if said_aloud else None
    return {**message, "content": parts}


def without_reasoning(message: Any) -> Any:
    return {k: v for k, v in message.items() if not k.startswith("reasoning")}


def with_more(message: Any) -> Any:
    return {**message, "refusal": None, "name": "helper"}


def trimmed(message: Any) -> Any:
    return {**message, "content": (message["content"] or "").strip()}


LATER = {
    "one answer": [answer("Looking. ", HIDDEN), answer("Done. ")],
    "several": [answer("A.", HIDDEN), answer(None, HIDDEN_TOO, reasoning="Hm."), answer("B.")],
    "mixed": [answer("Both.", HIDDEN, OWN, OWN_TOO)],
    "mixed later": [answer(None, HIDDEN), answer(None, OWN, HIDDEN_TOO)],
    "own calls later": [answer(None, HIDDEN), answer("You.", OWN)],
}


@pytest.mark.parametrize(
    "change",
    [as_it_was, as_parts, without_reasoning, with_more, trimmed],
    ids=lambda change: change.__name__,
)
@pytest.mark.parametrize("shape", LATER.values(), ids=LATER)
@pytest.mark.parametrize("noise", [False, True], ids=["", "among other messages"])
def test_later_request_is_restored_to_what_the_provider_saw(
    shape: list[dict[str, Any]], change: Callable[[Any], Any], noise: bool
) -> None:
    shown, turns = turns_of(shape)
    done = loop(NAME, ASKED, turns)
    own = [c["id"] for c in shown.get("tool_calls", ())]
    following: list[Any] = [{"role": "tool", "tool_call_id": i, "content": "ok"} for i in own]
    following.append({"role": "user", "content": "And then?"})
    asked = deepcopy(ASKED)
    messages: Any = asked["messages"]
    if noise:
        messages[0]["content"] = "Be better."
        messages[3]["content"] = "Where is it?"
        messages.insert(4, {"role": "system", "content": "It is late."})
    before = deepcopy(messages)
    messages += [change(deepcopy(shown)), *following]
    hidden_results = [
        {"role": "tool", "tool_call_id": c.call_id, "content": f"result of {c.call_id}"}
        for c in turns[-1].calls
    ]
    expected = [
        *before,
        *sequence_of(done.asked[-1])[4:],
        shape[-1]["choices"][0]["message"],
        *hidden_results,
        *following,
    ]
    assert restored(NAME, asked, done.found)["messages"] == expected


def test_messages_of_the_client_are_restored_byte_for_byte() -> None:
    shown, turns = turns_of(LATER["one answer"])
    done = loop(NAME, ASKED, turns)
    asked = request({"messages": [*ASKED["messages"], shown, {"role": "user", "content": "Ö"}]})
    before = [bytes(element) for element in elements(asked["messages"])]
    assert api.restore(asked, done.found)
    after = [bytes(element) for element in elements(asked["messages"])]
    assert [*after[:4], after[-1]] == [*before[:4], before[-1]]
    assert len(after) == len(before) + 2


def keys(*messages: Any) -> list[str]:
    return [run.key for run in api.transcript(request({"messages": list(messages)})).runs]


def test_equal_text_after_different_results_has_a_different_key() -> None:
    def after(call_id: str) -> list[str]:
        done = {"role": "assistant", "content": "Done."}
        return keys({"role": "tool", "tool_call_id": call_id, "content": "ok"}, done)

    assert after("call_1") != after("call_2")
    assert after("call_1") == after("call_1")


def test_key_of_a_response_covers_all_text_since_the_previous_response() -> None:
    done = {"role": "assistant", "content": "Done."}
    a, b = {"role": "user", "content": "A"}, {"role": "user", "content": "B"}
    assert keys(a, b, done) == keys({"role": "user", "content": "A\nB"}, done)
    assert keys(a, done, b, done)[1] == keys(b, done)[0] != keys(a, done)[0]
    assert api.transcript(request({"messages": [a, done, b]})).text_since == "B"


def test_calls_without_an_id_do_not_make_a_run_key() -> None:
    calls = [call(None, "weather"), OWN]
    assert keys({"role": "assistant", "tool_calls": calls}) == ["call:call_own"]
    assert keys({"role": "assistant", "tool_calls": calls[:1]})[0].startswith("text:")


def test_alias_key_is_none_where_requests_do_not_name_responses() -> None:
    assert api.alias_key("chatcmpl-1") is None
    assert api.restores_without_tools


PART, MORE = {"type": "text", "text": "Parts."}, {"type": "text", "text": "More."}


@pytest.mark.parametrize(
    ("first", "second", "seen"),
    [
        ("Text. ", "More.", "Text. More."),
        ("Text.", [PART], [{"type": "text", "text": "Text."}, PART]),
        ([PART], "More.", [PART, MORE]),
        ([PART], [MORE], [PART, MORE]),
        ([PART], "", [PART]),
        (None, [PART], [PART]),
    ],
)
def test_content_in_parts_stays_complete(first: Any, second: Any, seen: Any) -> None:
    messages = [answer(None, HIDDEN), answer("")]
    for message, content in zip(messages, (first, second), strict=True):
        message["choices"][0]["message"]["content"] = content
    merged, _ = merge(NAME, messages)
    assert merged["choices"][0]["message"]["content"] == seen
