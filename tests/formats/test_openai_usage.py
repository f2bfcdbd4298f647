"""Usage of OpenAI's APIs and of hosts that imitate them: what their counts mean."""

import json
from typing import Any

import pytest

from aibridge_addon.facts import UNEXPLAINED_TOKENS, Usage
from aibridge_addon.formats import FORMATS, openai_chat
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat.splicer import Splicer
from aibridge_addon.formats.openai_tools import summed_usage
from aibridge_addon.formats.openai_usage import CHAT_NAMES, RESPONSES_NAMES, Names, read_usage
from formats.helpers import read_stream, sse

each_api = pytest.mark.parametrize("names", [CHAT_NAMES, RESPONSES_NAMES], ids=["chat", "resp"])


def told(names: Names, given: int, output: int, **fields: Any) -> dict[str, Any]:
    """A usage object; `in_…` and `out_…` are details of the input and of the output."""
    usage: dict[str, Any] = {names.input: given, names.output: output}
    for name, value in fields.items():
        side, _, detail = name.partition("_")
        if side in ("in", "out"):
            of = names.input_details if side == "in" else names.output_details
            usage.setdefault(of, {})[detail] = value
        else:
            usage[name] = value
    return usage


def counted(usage: dict[str, Any], names: Names) -> tuple[int | None, ...]:
    found = read_usage(usage, names)
    assert found is not None
    assert found.raw == usage
    return (
        found.input_tokens,
        found.output_tokens,
        found.cache_read_input_tokens,
        found.cache_write_input_tokens,
    )


def extra(usage: dict[str, Any], names: Names = CHAT_NAMES) -> dict[str, Any]:
    found = read_usage(usage, names)
    assert found is not None
    return dict(found.extra)


@each_api
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"out_reasoning_tokens": 94, "total_tokens": 135}, (32, 103, 0, 0)),  # xAI
        ({"out_reasoning_tokens": 4, "total_tokens": 41}, (32, 9, 0, 0)),
        ({"reasoning_tokens": 50, "total_tokens": 91}, (32, 59, 0, 0)),  # Perplexity
        ({"out_reasoning_tokens": 94}, (32, 9, 0, 0)),  # no total: nothing tells
        ({"cached_tokens": 30}, (2, 9, 30, 0)),  # Kimi
        ({"num_cached_tokens": 30}, (2, 9, 30, 0)),  # Mistral
        ({"prompt_cache_hit_tokens": 30, "prompt_cache_miss_tokens": 2}, (2, 9, 30, 0)),  # DeepSeek
        ({"cached_tokens": 7, "in_cached_tokens": 30}, (2, 9, 30, 0)),
        ({"cached_tokens": 30, "in_cached_tokens": 0}, (2, 9, 30, 0)),
        (
            {"cache_creation_input_tokens": 10, "cache_read_input_tokens": 20, "total_tokens": 41},
            (2, 9, 20, 10),
        ),  # LiteLLM
        ({"in_cached_tokens": 20, "in_cache_creation_input_tokens": 10}, (2, 9, 20, 10)),  # Qwen
        (
            {"in_cache_read_input_tokens": 20, "in_cache_creation_input_tokens": 10},
            (2, 9, 20, 10),
        ),  # Perplexity
        ({"in_cached_tokens": 20, "in_cache_write_tokens": 10}, (2, 9, 20, 10)),  # OpenRouter
        ({"cache_creation_input_tokens": 500, "in_cached_tokens": 20}, (12, 9, 20, 500)),
        ({"cache_creation_input_tokens": 500, "total_tokens": 541}, (32, 9, 0, 500)),
        ({"in_cached_tokens": 500, "total_tokens": 541}, (32, 9, 500, 0)),  # xAI
        (
            {"in_cached_tokens": 500, "out_reasoning_tokens": 94, "total_tokens": 635},
            (32, 103, 500, 0),
        ),
    ],
)
def test_counts_of_every_host_become_input_output_and_cache_tokens(
    names: Names, fields: dict[str, Any], expected: tuple[int, ...]
) -> None:
    usage = told(names, 32, 9, **fields)
    assert counted(usage, names) == expected
    assert UNEXPLAINED_TOKENS not in extra(usage, names)


@each_api
@pytest.mark.parametrize(
    ("fields", "unexplained"),
    [
        ({"total_tokens": 141}, 100),  # Gemini's compatible endpoint: thoughts in the total only
        ({"total_tokens": 141, "out_reasoning_tokens": 94}, 100),
        ({"total_tokens": 40}, -1),
        ({"total_tokens": 0}, -41),
    ],
)
def test_unexplained_total_is_recorded_beside_the_counts(
    names: Names, fields: dict[str, Any], unexplained: int
) -> None:
    usage = told(names, 32, 9, **fields)
    assert counted(usage, names)[:2] == (32, 9)
    assert extra(usage, names)[UNEXPLAINED_TOKENS] == unexplained


@pytest.mark.parametrize(("model", "output"), [("gemini-2.5-pro", 109), ("grok-4", 9)])
def test_thoughts_that_only_googles_total_counts_are_output(model: str, output: int) -> None:
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 141}
    body = {"model": model, "choices": [], "usage": usage}
    found = openai_chat.FORMAT.read_whole(json.dumps(body).encode()).usage
    assert found
    assert found.output_tokens == output


def test_prices_and_requests_of_a_response_are_recorded() -> None:
    assert extra({"prompt_tokens": 1, "cost": 0.00012, "cost_details": {"x": 1}}) == {
        "cost": 0.00012
    }
    assert extra({"prompt_tokens": 1, "cost": 0}) == {"cost": 0}
    assert extra(
        {
            "prompt_tokens": 1,
            "cost": {"input_tokens_cost": 0.1, "total_cost": 0.3},
            "citation_tokens": 5,
            "num_search_queries": 2,
        }
    ) == {"cost": 0.3, "citation_tokens": 5, "num_search_queries": 2}
    assert extra(
        {
            "prompt_tokens": 1,
            "cost": 0.1,
            "cost_details": {"upstream_inference_cost": 0.2},
            "cost_in_usd_ticks": 37756000,
            "num_sources_used": 3,
        }
    ) == {
        "cost": 0.1,
        "upstream_inference_cost": 0.2,
        "cost_in_usd_ticks": 37756000,
        "num_sources_used": 3,
    }


@pytest.mark.parametrize("cost", [None, True, [], {}, float("nan"), float("inf"), 2**70])
def test_value_that_is_not_a_price_is_ignored(cost: Any) -> None:
    assert extra({"prompt_tokens": 1, "cost": cost}) == {}


@each_api
def test_every_part_of_the_counts_has_a_name(names: Names) -> None:
    usage = told(
        names,
        1000,
        1000,
        in_text_tokens=1,
        in_audio_tokens=2,
        in_image_tokens=3,
        in_cache_write_tokens=9,
        in_cache_write_tokens_details={"ttl_30m_tokens": 4, "ttl_12h_tokens": 5},
        in_cache_creation={"ephemeral_5m_input_tokens": 6},
        in_cache_creation_token_details={"ephemeral_1h_input_tokens": 7},
        out_text_tokens=8,
        out_audio_tokens=9,
        out_image_tokens=10,
        out_reasoning_tokens=11,
        out_accepted_prediction_tokens=12,
        out_rejected_prediction_tokens=13,
    )
    assert extra(usage, names) == {
        "text_input_tokens": 1,
        "audio_input_tokens": 2,
        "image_input_tokens": 3,
        "cache_write_30m_input_tokens": 4,
        "cache_write_12h_input_tokens": 5,
        "cache_write_5m_input_tokens": 6,
        "cache_write_1h_input_tokens": 7,
        "text_output_tokens": 8,
        "audio_output_tokens": 9,
        "image_output_tokens": 10,
        "reasoning_tokens": 11,
        "accepted_prediction_tokens": 12,
        "rejected_prediction_tokens": 13,
    }


@pytest.mark.parametrize(
    ("api", "usage"),
    [
        ("openai_embeddings", {"total_tokens": 32}),  # Voyage
        ("openai_embeddings", {"prompt_tokens": 32, "total_tokens": 32}),
        ("rerank", {"total_tokens": 32}),
    ],
)
def test_total_of_an_api_without_output_is_its_input(api: str, usage: dict[str, int]) -> None:
    found = FORMATS[api].read_whole(json.dumps({"data": [], "usage": usage}).encode()).usage
    assert found == Usage(input_tokens=32, output_tokens=0, raw=usage)


def test_vectors_of_the_chunks_of_a_text_are_not_shown() -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    body = {"data": [{"object": "list", "data": [vector], "index": 0}], "model": "m"}
    view = FORMATS["openai_embeddings"].view
    assert view
    shown = view.assemble_response(json.dumps(body).encode())
    assert json.loads(shown)["data"][0]["data"] == [{"object": "embedding", "index": 0}]


def test_ranks_of_nvidia_have_their_tokens() -> None:
    usage = {"prompt_tokens": 32, "total_tokens": 32}
    body = {"rankings": [{"index": 1, "logit": 4.5}], "usage": usage}
    found = FORMATS["rerank"].read_whole(json.dumps(body).encode()).usage
    assert found == Usage(input_tokens=32, output_tokens=0, raw=usage)


@pytest.mark.parametrize(
    ("timings", "expected"),
    [
        ({"prompt_n": 12, "cache_n": 20, "predicted_n": 9, "predicted_ms": 2.5}, (12, 9, 20)),
        ({"prompt_n": 12, "predicted_n": 9}, (None, 9, 0)),  # before the cache was stated
        ({"predicted_ms": 2.5}, None),
    ],
)
@pytest.mark.parametrize("api", ["openai_chat", "openai_completions"])
def test_timings_of_llama_cpp_stand_for_usage_that_nobody_asked_for(
    api: str, timings: dict[str, float], expected: tuple[int | None, ...] | None
) -> None:
    early = {"prompt_n": 12, "cache_n": 20, "predicted_n": 1} if expected else {}
    chunks = [chunk(timings=early), chunk("stop", timings=timings)]
    streamed = read_stream(FORMATS[api], [sse(*chunks), b"data: [DONE]\n\n"]).usage
    whole = json.dumps({"choices": [], "timings": timings}).encode()
    for found in (streamed, FORMATS[api].read_whole(whole).usage):
        counts = found and (found.input_tokens, found.output_tokens, found.cache_read_input_tokens)
        assert counts == expected or (found is streamed and counts == (12, 9, 20))


def test_calls_of_the_hosts_tools_are_counted_once_in_a_stream() -> None:
    begun, done = ({"index": 0, "type": "search", "output": text} for text in (None, "found"))
    chunks = [chunk(choice={"delta": {"executed_tools": [tool]}}) for tool in (begun, done)]
    stream = sse(*chunks, chunk("stop", x_groq={"id": "r", "usage": USAGE}))
    facts = read_stream(FORMATS["openai_chat"], [stream, b"data: [DONE]\n\n"])
    assert facts.usage
    assert facts.usage.extra == {"executed_tool_requests": 1}


def test_usage_wins_over_timings() -> None:
    last = LAST | {"usage": USAGE, "timings": {"prompt_n": 1, "cache_n": 0, "predicted_n": 9}}
    facts = read_stream(FORMATS["openai_chat"], [sse(chunk("stop"), last), b"data: [DONE]\n\n"])
    assert facts.usage == Usage(input_tokens=32, output_tokens=9, raw=USAGE)


def test_tier_that_was_used_wins_over_the_requested_one() -> None:
    tiers = {"service_tier": "auto", "service_tier_used": "flex"}
    body = {"choices": [], "usage": USAGE, **tiers}
    found = FORMATS["openai_chat"].read_whole(json.dumps(body).encode()).usage
    assert found
    assert found.extra == {"service_tier": "flex"}


# Places of the usage in a chat stream

USAGE = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 41}


def chunk(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice | fields.pop("choice", {})], **fields}


LAST = {"id": "c", "model": "m", "choices": []}
STREAMS = {
    "last chunk": [chunk(), chunk("stop"), LAST | {"usage": USAGE}],
    "finish chunk": [chunk(), chunk("stop", usage=USAGE)],
    "choice of the finish chunk": [chunk(), chunk("stop", choice={"usage": USAGE})],
    "x_groq of the finish chunk": [chunk(), chunk("stop", x_groq={"id": "r", "usage": USAGE})],
    "choice, and then null": [chunk("stop", choice={"usage": USAGE}), LAST | {"usage": None}],
    "finish chunk, and then zeros": [
        chunk("stop", usage=USAGE),
        LAST | {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    ],
    "every chunk": [
        chunk(usage={"prompt_tokens": 32, "completion_tokens": 0, "total_tokens": 32}),
        chunk(usage={"prompt_tokens": 32, "completion_tokens": 4, "total_tokens": 36}),
        chunk("stop", usage=USAGE),
    ],
    "only the output at the end": [
        chunk(usage=USAGE | {"completion_tokens": 1, "total_tokens": 33}),
        LAST | {"usage": {"completion_tokens": 9, "total_tokens": 41}},
    ],
}


@pytest.mark.parametrize("chunks", STREAMS.values(), ids=STREAMS)
def test_chat_usage_is_found_in_every_place_of_a_stream(chunks: list[Any]) -> None:
    facts = read_stream(FORMATS["openai_chat"], [sse(*chunks), b"data: [DONE]\n\n"])
    assert facts.usage == Usage(input_tokens=32, output_tokens=9, raw=USAGE)


@pytest.mark.parametrize("place", ["usage", "x_groq", "choice"])
def test_chat_usage_is_found_in_every_place_of_a_buffered_response(place: str) -> None:
    choice: dict[str, Any] = {"index": 0, "message": {"content": "a"}}
    answer: dict[str, Any] = {"id": "c", "model": "m", "choices": [choice]}
    if place == "choice":
        choice["usage"] = USAGE
    else:
        answer[place] = USAGE if place == "usage" else {"usage": USAGE}
    facts = FORMATS["openai_chat"].read_whole(sse(answer).removeprefix(b"data: "))
    assert facts.usage == Usage(input_tokens=32, output_tokens=9, raw=USAGE)


@pytest.mark.parametrize("position", [0, 2])
def test_service_tier_of_a_chat_stream_is_kept(position: int) -> None:
    chunks = [chunk(), chunk("stop"), LAST | {"usage": USAGE}]
    chunks[position]["service_tier"] = "flex"
    facts = read_stream(FORMATS["openai_chat"], [sse(*chunks)])
    assert facts.usage is not None
    assert facts.usage.extra == {"service_tier": "flex"}


def test_summed_usage_includes_reasoning_counted_apart_from_the_output() -> None:
    beside = told(CHAT_NAMES, 32, 9, total_tokens=135, out_reasoning_tokens=94)
    last = told(CHAT_NAMES, 60, 5, total_tokens=75, out_reasoning_tokens=10)
    assert summed_usage(last, [beside], CHAT_NAMES) == told(
        CHAT_NAMES, 60, 14, total_tokens=178, out_reasoning_tokens=104
    )


def test_zeros_after_the_counts_do_not_undo_the_sum_of_several_responses() -> None:
    names = frozenset({"bmcp_ask"})
    splicer = Splicer(names)
    call = {"index": 0, "id": "t", "function": {"name": "bmcp_ask", "arguments": "{}"}}
    zeros = dict.fromkeys(USAGE, 0)
    first = [
        chunk(choice={"delta": {"tool_calls": [call]}}),
        chunk("tool_calls", usage=USAGE, choice={"delta": {}}),
        LAST | {"usage": zeros},
    ]
    last = [chunk("stop"), LAST | {"usage": told(CHAT_NAMES, 50, 4, total_tokens=54)}]
    for value in first:
        splicer.feed(Event(b"", b"", b""), value)
    splicer.turn()
    splicer.resume()
    out = b"".join(splicer.feed(Event(b"", b"", b""), value) for value in last)
    out += splicer.finish()
    assert b'"completion_tokens":13' in out
    assert b'"total_tokens":63' in out
