"""Limits of output tokens, and numbers of choices, in requests of all formats."""

import json
from typing import Any

import pytest

from aibridge_addon.formats import FORMATS
from aibridge_addon.raw_json import members


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
