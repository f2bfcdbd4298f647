"""Models that a request names, and requests whose models cannot be determined."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.access.requested_models import (
    UnclearError,
    models_of_body,
    models_of_headers,
    models_of_message,
    models_of_path,
)
from aibridge_addon.raw_json import members as raw_members

MODEL = {"model": "a", "input": [{"model": "said", "models": ["said"]}], "metadata": {"Model": "x"}}


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({}, ["a"]),
        ({"models": ["b", "c"]}, ["a", "b", "c"]),
        ({"models": None, "tools": None, "fallbacks": None, "preset": None}, ["a"]),
        ({"fallbacks": "default"}, ["a", "default"]),
        ({"fallbacks": [{"model": "b"}, {"model": "c", "max_tokens": 1}]}, ["a", "b", "c"]),
        ({"tools": [{"type": "advisor_20260301", "model": "b"}, {"name": "f"}]}, ["a", "b"]),
        ({"tools": [{"name": "f", "input_schema": {"Model": 1, "model": 2}}]}, ["a"]),
        ({"tools": ["x", None, 1]}, ["a"]),
        ({"model": None}, []),
    ],
)
def test_models_are_found_in_all_members_of_a_request(
    members: dict[str, Any], named: list[str]
) -> None:
    for read in (models_of_body, models_of_message):
        assert list(read(json.dumps(MODEL | members).encode())) == named


def test_models_of_every_request_in_a_batch_are_found() -> None:
    batch = [
        {"custom_id": "1", "params": {"model": "a", "tools": [{"model": "b"}]}},
        {"custom_id": "2", "params": {"model": "c", "fallbacks": [{"model": "d"}]}},
        {"custom_id": "3"},
    ]

    assert list(models_of_body(json.dumps({"requests": batch}).encode())) == ["a", "b", "c", "d"]


def test_contents_and_declarations_of_gemini_name_no_model() -> None:
    part = {"functionCall": {"name": "f", "args": {"model": "a"}}}
    schema = {"properties": {"model": {"type": "string"}}, "model": 1}
    body = {
        "contents": [{"parts": [part]}],
        "systemInstruction": {"parts": [{"model": "b"}]},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}],
        "generationConfig": {"responseSchema": schema},
    }

    assert list(models_of_body(json.dumps(body).encode())) == []
    wrapped = {"model": "models/gemini-2.5-pro", "request": body}
    assert list(models_of_body(json.dumps(wrapped).encode())) == ["gemini-2.5-pro"]


def test_only_the_setup_of_a_live_session_names_a_model() -> None:
    trap = {"model": "trap"}
    messages: list[Any] = [
        {"setup": {"model": "projects/p/locations/l/publishers/google/models/gemini-live"}},
        {"clientContent": {"turns": [{"parts": [trap]}], "turnComplete": True}},
        {"toolResponse": {"functionResponses": [{"name": "f", "response": trap}]}},
        {"instances": [trap]},
    ]
    named = [list(models_of_message(json.dumps(message).encode())) for message in messages]
    assert named == [["gemini-live"], [], [], []]


def test_models_of_a_websocket_message_with_a_nested_request_are_found() -> None:
    message = {"type": "response.create", "response": {"model": "a", "models": ["b"]}}

    assert list(models_of_message(json.dumps(message).encode())) == ["a", "b"]
    assert list(models_of_message(b'{"type":"response.cancel","response":"resp_1"}')) == []


UNCLEAR = [
    b'{"model":"a","model":"a"}',
    b'{"model":"a","Model":"a"}',
    b'{"MODEL":"a"}',
    b'{"model":"a","\\u006dodel":"b"}',
    b'{"model":"a","x":NaN,"model":"b"}',
    b'{"model":"a","x":"\\ud800","Model":"b"}',
    b'{"model":7}',
    b'{"model":["a"]}',
    b'{"models":["a"],"models":["b"]}',
    b'{"Models":["a"]}',
    '{"model\u017f":["a"]}'.encode(),
    b'{"models":[{"id":"a"}]}',
    b'{"tools":[],"tools":[{"model":"a"}]}',
    b'{"Fallbacks":[]}',
    b'{"tools":[{"model":"a","model":"b"}]}',
    b'{"fallbacks":[{"x":NaN,"model":"a","model":"b"}]}',
]


@pytest.mark.parametrize("request_", UNCLEAR)
def test_body_that_parsers_read_in_different_ways_is_unclear(request_: Any) -> None:
    for read in (models_of_body, models_of_message):
        with pytest.raises(UnclearError):
            list(read(request_))
    for read, envelope in (
        (models_of_body, b'{"requests":[{"params":%b}]}'),
        (models_of_message, b'{"response":%b}'),
    ):
        with pytest.raises(UnclearError):
            list(read(envelope % request_))


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"[]",
            b'"model"',
            b"null",
            b"--b\r\n\r\nexp\r\n--b--",
            b"model=exp",
            b"{",
            b"\xff{}",
        ),
        *(b'{"requests":[],"Requests":[]}', b'{"requests":[{"params":{},"params":{}}]}'),
        *(b"[" * 100_000, b'{"a":' * 100_000),
    ],
)
def test_body_that_is_not_a_json_object_is_unclear(body: bytes) -> None:
    with pytest.raises(UnclearError):
        list(models_of_body(body))


@pytest.mark.parametrize(
    "message",
    [b"", b"[]", b'{"type":"a","type":"b"}', b'{"Type":"a"}', b'{"response":{},"Response":{}}'],
)
def test_websocket_message_with_an_ambiguous_type_is_unclear(message: bytes) -> None:
    with pytest.raises(UnclearError):
        list(models_of_message(message))


@given(
    before=st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4),
    name=st.sampled_from(["model", "Model", "mOdEl", "MODEL"]),
    first=st.booleans(),
)
def test_repeated_model_member_is_unclear_at_any_position(
    before: dict[str, Any], name: str, first: bool
) -> None:
    members = [*before.items(), ("model", "a")]
    members.insert(0 if first else len(members), (name, "b"))
    body = f"{{{','.join(f'{json.dumps(k)}:{json.dumps(v)}' for k, v in members)}}}"

    for read_as in (None, raw_members(body.encode())):
        with pytest.raises(UnclearError):
            list(models_of_body(body.encode(), read_as))


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/realtime?model=a", ["a"]),
        ("/v1/realtime?x=1&Model=a&model=b%2Fc&models=d", ["a", "b/c", "d"]),
        ("/v1/realtime?m%6fdel=a&model=", ["a", ""]),
        ("/v1/model=a", []),
        ("/v1/realtime?xmodel=a", []),
        ("/v1/realtime", []),
    ],
)
def test_models_in_the_query_are_found(path: str, named: list[str]) -> None:
    assert list(models_of_path("GET", path)) == named


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"fallbacks": ["b", "c"]}, ["a", "b", "c"]),
        ({"fallbacks": "b"}, ["a", "b"]),
        ({"fallback_models": ["b", {"model": "c"}]}, ["a", "b", "c"]),
        ({"models": "b"}, ["a", "b"]),
        ({"extra_body": {"model": "b", "models": ["c"]}}, ["a", "b", "c"]),
        ({"context_window_fallbacks": [{"model": "b"}]}, ["a", "b"]),
        ({"plugins": [{"id": "auto-router", "allowed_models": ["b"]}]}, ["a", "b"]),
        ({"plugins": [{"id": "web", "engine": "exa"}]}, ["a"]),
        ({"plugins": [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]}, ["a"]),
        ({"plugins": [{"id": "x", "engine": "exa", "model": "b"}]}, ["a", "b"]),
        ({"tools": [{"type": "x:search", "parameters": {"engine": "exa"}}]}, ["a"]),
        ({"tools": [{"type": "web_search", "web_search": {"search_engine": "pro"}}]}, ["a"]),
        ({"tools": [{"type": "web_search", "searchEngine": "pro", "model": "b"}]}, ["a", "b"]),
        ({"providerOptions": {"gateway": {"models": ["b"]}}}, ["a", "b"]),
        ({"model_names": ["b"], "target_model_names": "c"}, ["a", "b", "c"]),
        ({"tools": {"type": "image_generation", "model": "b"}}, ["a", "b"]),
        ({"prompt": {"id": "p", "model": "b"}}, ["a", "b"]),
        ({"prompt": {"id": "p", "variables": {"model": "said"}}}, ["a"]),
        ({"prompt": "said"}, ["a"]),
        ({"agent": {"model": "b"}}, ["a", "b"]),
        ({"deployment": "b", "engine": "c", "model_id": "d"}, ["a", "b", "c", "d"]),
        ({"deployment": {"x": [{"model": "b"}]}}, ["a", "b"]),
        ({"session": {"model": "b", "audio": {"transcription": {"model": "c"}}}}, ["a", "b", "c"]),
        ({"tools": [{"type": "x:research", "parameters": {"model": "b"}}]}, ["a", "b"]),
        (
            {"tools": [{"type": "function", "function": {"parameters": {"model": 1}}}]},
            ["a"],
        ),
        ({"text": {"format": {"schema": {"properties": {"model": {}}}}}}, ["a"]),
        ({"reasoning": {"effort": "high"}, "thinking": {"type": "adaptive"}, "n": 1}, ["a"]),
        ({"model": "b,c"}, ["b,c", "b", "c"]),
    ],
)
def test_models_in_members_of_other_gateways_are_found(
    members: dict[str, Any], named: list[str]
) -> None:
    for read in (models_of_body, models_of_message):
        assert sorted(read(json.dumps(MODEL | members).encode())) == sorted(named)


@pytest.mark.parametrize(
    "members",
    [
        {"model": "@preset/x"},
        {"model": "a@preset/x"},
        {"models": ["a@preset/x"]},
        {"preset": "x"},
        {"preset": ["x"]},
        {"extra_body": {"preset": "x"}},
        {"route": "fallback"},
        {"agent": "x"},
        {"agent_id": "x"},
        {"agent": {"name": "x"}},
        {"assistant_id": "x"},
        {"deployment": {"name": "x"}},
        {"fallbacks": [{"a": ["b"]}]},
        {"fallbacks": [7]},
        {"fallbacks": {"x": 1}},
        {"fallbackModels": ["b"]},
        {"extra_body": {"Model": "b"}},
        {"extra_body": {"model": "b", "MODEL": "c"}},
    ],
)
def test_member_that_chooses_a_model_without_naming_it_is_unclear(members: dict[str, Any]) -> None:
    for read in (models_of_body, models_of_message):
        with pytest.raises(UnclearError):
            list(read(json.dumps(MODEL | members).encode()))


def test_stored_prompt_is_unclear_unless_the_request_names_the_model() -> None:
    with pytest.raises(UnclearError):
        list(models_of_body(b'{"prompt":{"id":"p"}}'))
    assert list(models_of_body(b'{"model":"a","prompt":{"id":"p"}}')) == ["a"]
    assert list(models_of_body(b'{"prompt":"said"}')) == []


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("POST", "/openai/deployments/a/chat/completions?api-version=1", ["a"]),
        ("POST", "/openai/deployments/a%2Fb/chat", ["a"]),
        ("POST", "/v1/engines/a/completions", ["a"]),
        ("POST", "/v1beta/models/a:generateContent", ["a"]),
        ("POST", "/model/a/invoke", ["a"]),
        ("GET", "/v1/models/a/x", []),
        ("POST", "/v1/models/a", []),
        ("POST", "/v1/x?deployment=a&fallback_models=b,c", ["a", "b,c", "b", "c"]),
    ],
)
def test_models_in_the_path_are_found(method: str, path: str, named: list[str]) -> None:
    assert list(models_of_path(method, path)) == named


@pytest.mark.parametrize("query", ["preset=x", "agent_id=x", "model=@preset/x", "route=x"])
def test_query_that_chooses_a_model_without_naming_it_is_unclear(query: str) -> None:
    with pytest.raises(UnclearError):
        list(models_of_path("GET", f"/v1/responses?{query}"))


def test_models_in_headers_are_found() -> None:
    fields = [(b"X-Model", b"a"), (b"azureml-model-deployment", b"b"), (b"x-fallbacks", b"c, d")]
    assert list(models_of_headers(fields)) == ["a", "b", "c, d", "c", "d"]
    harmless = [(b"anthropic-beta", b"model"), (b"x-claude-code-agent-id", b"1"), (b"te", b"x")]
    assert list(models_of_headers(harmless)) == []
    with pytest.raises(UnclearError):
        list(models_of_headers([(b"x-portkey-config", b"pc-1")]))


@pytest.mark.parametrize(
    "member",
    [
        {"allowedModels": ["b"]},
        {"preferredModel": "b"},
        {"modelGroupAlias": {"a": "b"}},
        {"model_group_alias": {"a": "b"}},
        {"context_window_fallback_dict": {"a": "b"}},
        {"router_settings_override": {"model_alias_map": {"a": "b"}}},
    ],
    ids=str,
)
def test_model_map_or_name_in_camel_case_is_unclear(member: dict[str, Any]) -> None:
    with pytest.raises(UnclearError):
        list(models_of_body(json.dumps({"model": "a"} | member).encode()))
