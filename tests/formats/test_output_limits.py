"""Limits of output tokens, and numbers of choices, in requests of all formats."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.output_limits import Places
from aibridge_addon.raw_json import members, with_values


def paths(places: Places) -> Iterator[tuple[str, ...]]:
    """Return the path of members to each limit."""
    for name, inner in places.items():
        yield from ((name,),) if inner is None else ((name, *path) for path in paths(inner))


PLACES = [
    (api, path) for api, wire_format in FORMATS.items() for path in paths(wire_format.output_limits)
]


def choices(api: str, request: object) -> int:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return FORMATS[api].choices(members(body) or {})


@pytest.mark.parametrize(
    ("api", "request_", "expected"),
    [
        ("openai_chat", {"n": 8}, 8),
        ("openai_completions", {"prompt": "a", "n": 3}, 3),
        ("openai_completions", {"prompt": "a", "n": 3, "best_of": 5}, 5),
        ("openai_completions", {"prompt": ["a", "b"], "best_of": 5}, 10),
        ("openai_completions", {"prompt": [[1, 2], [3]]}, 2),
        ("openai_completions", {"prompt": [1, 2, 3]}, 1),
        ("openai_completions", {"prompt": []}, 1),
        ("gemini", {"contents": [], "generationConfig": {"candidateCount": 4}}, 4),
        ("gemini", {"generation_config": {"candidate_count": "4", "candidateCount": 2}}, 4),
        ("gemini", {"request": {"generationConfig": {"candidateCount": 4}}}, 4),
        ("openai_responses", {"n": 8}, 1),
        ("anthropic_messages", {"n": 8}, 1),
    ],
)
def test_format_states_how_many_outputs_a_request_asks_for(
    api: str, request_: Any, expected: int
) -> None:
    assert choices(api, request_) == expected


ODD = ["0", "-3", '"x"', '""', '"inf"', '"nan"', "1e400", "NaN", "true", "null", "[]", "{}", "0.5"]


@pytest.mark.parametrize("odd", [*ODD, "9" * 30, "9" * 5000, f'"{"9" * 5000}"', '"\\ud800"'])
def test_odd_number_of_choices_counts_as_at_least_one(odd: str) -> None:
    top = f'{{"n": {odd}, "best_of": {odd}, "prompt": {odd}}}'.encode()
    config = f'{{"generationConfig": {{"candidateCount": {odd}}}}}'.encode()
    for api, wire_format in FORMATS.items():
        assert choices(api, top) >= 1, wire_format
        assert choices(api, config) >= 1, wire_format


def test_repeated_number_of_choices_is_read() -> None:
    assert choices("openai_chat", b'{"n": 2, "n": 4}') in (2, 4)


def nested(path: tuple[str, ...], *values: str) -> bytes:
    """Return a request with an odd layout that has a limit several times, among other members."""
    text = ", ".join(f'"top" : 70000,"{path[-1]}"  :{value}' for value in values)
    for name in reversed(path[:-1]):
        text = f' "x": [70000] ,"{name}":\t{{ {text}}}, "{name}" : {{{text} }}'
    return f' {{ "a\\"{{" : "70000" ,{text}\n,"model": "m"}} '.encode()


def lowered(api: str, body: bytes, most: int = 500) -> bytes:
    return FORMATS[api].lower_output_limit(body, members(body) or {}, most)


HIGH = ["60000", "501", '"60000"', '" 60000 "', "6e4", "60000.0", "1e300", "9" * 30, '"1e9"']
LOW = ["500", "50", '"50"', "0", "-1", "true", "null", "[]", "{}", '"x"', '"inf_"', '"nan"', "1.5"]


@pytest.mark.parametrize(("api", "path"), PLACES)
def test_each_limit_above_the_ceiling_is_lowered_and_no_other_byte_changes(
    api: str, path: tuple[str, ...]
) -> None:
    for high in HIGH:
        for low in LOW:
            for names in (path, tuple(name.upper() for name in path)):
                body, expected = (nested(names, low, value, low) for value in (high, "500"))
                assert lowered(api, body) == expected, (high, low)
                assert lowered(api, expected) == expected


@pytest.mark.parametrize(("api", "path"), PLACES)
def test_limit_is_lowered_in_a_body_that_only_lenient_parsers_accept(
    api: str, path: tuple[str, ...]
) -> None:
    body, expected = (nested(path, "NaN", value, "-Infinity") for value in ("60000", "500"))
    assert lowered(api, body) == expected
    assert lowered(api, body.decode().encode("utf-16")) == expected.decode().encode("utf-16")


@pytest.mark.parametrize("api", FORMATS)
def test_each_spelling_of_a_limit_is_lowered(api: str) -> None:
    body: dict[str, Any] = {}
    for _, path in (place for place in PLACES if place[0] == api):
        inner = body
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = 60000
    whole = json.dumps(body).encode()
    assert lowered(api, whole) == whole.replace(b"60000", b"500")


def test_formats_whose_requests_limit_the_output_have_places_of_it() -> None:
    assert {api for api, _ in PLACES} == {
        *("anthropic_messages", "bedrock_invoke", "bedrock_converse"),
        *("openai_chat", "openai_completions"),
        *("openai_responses", "openai_responses_compact"),
        *("gemini", "gemini_interactions", "ollama_chat", "ollama_generate"),
        *("openai_realtime", "gemini_live"),
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"max_tokens": 60000', b"{}"])
def test_body_that_is_not_read_is_left_as_it_is(body: bytes) -> None:
    assert all(lowered(api, body) == body for api in FORMATS)


def test_largest_limit_is_held() -> None:
    request = {"generationConfig": {"maxOutputTokens": 50, "max_output_tokens": "60000"}}
    assert FORMATS["gemini"].output_limit(members(json.dumps(request).encode()) or {}) == 60000


BATCHES = [
    (
        "anthropic_batches",
        b'{"requests": [ {"custom_id":"a", "params":{"max_tokens": 9000, "model":"m"}},\n'
        b'{"params": {"max_tokens":5}} ,{"params":{"max_tokens":7000,"thinking":'
        b'{"type":"enabled","budget_tokens":2000}}}, [], 1 ], "x": 9000}',
        b'{"requests": [ {"custom_id":"a", "params":{"max_tokens": 100, "model":"m"}},\n'
        b'{"params": {"max_tokens":5}} ,{"params":{"max_tokens":2001,"thinking":'
        b'{"type":"enabled","budget_tokens":2000}}}, [], 1 ], "x": 9000}',
    ),
    (
        "gemini_batches",
        b'{"batch":{"displayName":"d","inputConfig":{"requests":{"requests":['
        b'{"request":{"generationConfig":{"maxOutputTokens":9000}}}, {"request": {}}]}}}}',
        b'{"batch":{"displayName":"d","inputConfig":{"requests":{"requests":['
        b'{"request":{"generationConfig":{"maxOutputTokens":100}}}, {"request": {}}]}}}}',
    ),
    (
        "gemini_batches",
        b'{"batch":{"input_config":{"requests":{"requests":['
        b'{"request":{"generation_config":{"max_output_tokens":9000}}}]}}}}',
        b'{"batch":{"input_config":{"requests":{"requests":['
        b'{"request":{"generation_config":{"max_output_tokens":100}}}]}}}}',
    ),
]


@pytest.mark.parametrize(("api", "body", "lowered"), BATCHES)
def test_limit_of_each_request_in_a_batch_is_lowered_and_no_other_byte_changes(
    api: str, body: bytes, lowered: bytes
) -> None:
    wire_format, given = FORMATS[api], members(body) or {}
    assert wire_format.lower_output_limit(body, given, 100) == lowered
    assert wire_format.lower_output_limit(body, given, 10_000) == body


@pytest.mark.parametrize("api", ["anthropic_batches", "gemini_batches"])
@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"requests": 1}', b'{"requests": [{"params": [1]}]}', b'{"batch":[]}']
)
def test_batch_of_another_shape_is_left_as_it_is(api: str, body: bytes) -> None:
    assert FORMATS[api].lower_output_limit(body, members(body) or {}, 100) == body


@pytest.mark.parametrize(
    ("api", "name"), [("anthropic_batches", "requests"), ("gemini_batches", "batch")]
)
def test_batch_of_arrays_in_arrays_is_left_as_it_is(api: str, name: str) -> None:
    body = b'{"%b": %b}' % (name.encode(), b"[" * 900 + b"]" * 900)
    given = members(body) or {}
    assert given
    assert FORMATS[api].lower_output_limit(body, given, 100) == body
    assert with_values(body, FORMATS[api].with_model(given, "b")) == body
