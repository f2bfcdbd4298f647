"""Edits by model rules: only the values of their members change."""

import dataclasses
import json
import warnings
from typing import Any

import pytest
from access.policies.test_rate_limits import asked_by

from aibridge_addon.access.model_rule import ModelRule, ModelRuleTable
from aibridge_addon.access.selection import Selection
from aibridge_addon.formats import FORMATS
from aibridge_addon.raw_json import encode, members, with_values

with warnings.catch_warnings():  # of libraries that mitmproxy's addons import
    warnings.simplefilter("ignore", DeprecationWarning)
    from aibridge_addon.exchange.model_edits import ModelEdits, edited_body, renamed_members

SPACED = b'{ "note" : "model\\": 1",\n  "model"  :  "fast" , "max_tokens":  64000 ,"messages":[]}'


def edited(message: bytes, api: str, **values: Any) -> bytes:
    edits = ModelEdits((ModelRule(**{"selection": Selection(), **values}),))
    return edits.message(dataclasses.replace(asked_by("alice")), message, FORMATS[api])


def test_alias_and_ceiling_change_only_the_values_of_their_members() -> None:
    changed = edited(
        SPACED,
        "anthropic_messages",
        aliases={"fast": "claude-haiku-4-5"},
        max_output_tokens=8000,
    )
    assert changed == SPACED.replace(b'"fast"', b'"claude-haiku-4-5"').replace(b"64000", b"8000")


@pytest.mark.parametrize(
    ("api", "name"),
    [
        ("anthropic_messages", "max_tokens"),
        ("openai_chat", "max_tokens"),
        ("openai_chat", "max_completion_tokens"),
        ("openai_responses", "max_output_tokens"),
    ],
)
def test_ceiling_lowers_a_higher_limit_and_leaves_a_lower_one(api: str, name: str) -> None:
    high, low = (json.dumps({"model": "m", name: n}).encode() for n in (9000, 100))
    assert json.loads(edited(high, api, max_output_tokens=500))[name] == 500
    assert edited(low, api, max_output_tokens=500) == low


def test_alias_and_ceiling_change_the_same_member() -> None:
    request = {"model": "models/a", "generationConfig": {"maxOutputTokens": 900}}
    body = json.dumps({"generateContentRequest": request}).encode()
    asked = dataclasses.replace(asked_by("alice"), model="a")
    rule = ModelRule(selection=Selection(), aliases={"a": "b"}, max_output_tokens=50)
    rules = ModelRuleTable((rule,)).applied_to(asked)
    changed = edited_body(asked, rules, members(body) or {}, body, FORMATS["gemini"])
    assert changed == body.replace(b"models/a", b"models/b").replace(b"900", b"50")


def test_ceiling_is_not_added_to_a_request_without_a_limit() -> None:
    body = b'{"model": "m"}'
    assert edited(body, "openai_chat", max_output_tokens=500) == body


def test_ceiling_stays_above_the_budget_for_thinking() -> None:
    body = {"max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 10000}}
    changed = edited(json.dumps(body).encode(), "anthropic_messages", max_output_tokens=4000)
    assert json.loads(changed)["max_tokens"] == 10001


@pytest.mark.parametrize("alias", ["gpt-5-mini", "our-small-chat"])
def test_alias_is_sent_by_the_name_of_its_deployment(alias: str) -> None:
    asked = asked_by("alice")
    models = {"our-chat": "gpt-5", "our-small-chat": "gpt-5-mini"}
    provider = dataclasses.replace(asked.route.provider, models=models)
    asked = dataclasses.replace(
        asked, model="gpt-5", route=dataclasses.replace(asked.route, provider=provider)
    )
    rules = ModelRuleTable((ModelRule(selection=Selection(), aliases={"gpt-5": alias}),))
    members: Any = {"model": b'"our-chat"'}
    renamed = renamed_members(asked, rules.applied_to(asked), members, FORMATS["openai_chat"])
    assert renamed == {"model": "our-small-chat"}


@pytest.mark.parametrize(
    ("api", "body", "expected"),
    [
        ("gemini", {"contents": []}, {}),
        ("gemini", {"model": "models/a"}, {"model": "models/b"}),
        (
            "gemini",
            {"generateContentRequest": {"model": "models/a", "x": 1.50}},
            {"generateContentRequest": {"model": "models/b", "x": 1.50}},
        ),
        (
            "gemini_embeddings",
            {"requests": [{"model": "models/a"}, {"content": {}}]},
            {"requests": [{"model": "models/b"}, {"content": {}}]},
        ),
        ("gemini_batches", {"x": 1}, {}),
        (
            "gemini_batches",
            {
                "batch": {
                    "model": "models/a",
                    "input_config": {
                        "requests": {"requests": [{"request": {"model": "models/a"}}, {}]}
                    },
                }
            },
            {
                "batch": {
                    "model": "models/b",
                    "input_config": {
                        "requests": {"requests": [{"request": {"model": "models/b"}}, {}]}
                    },
                }
            },
        ),
        ("bedrock_converse", {"messages": []}, {}),
        ("openai_chat", {"model": "a"}, {"model": "b"}),
    ],
)
def test_model_that_a_body_repeats_is_replaced_too(api: str, body: Any, expected: Any) -> None:
    given = members(json.dumps(body).encode()) or {}
    changed = FORMATS[api].with_model(given, "b")
    assert json.loads(encode(changed)) == expected


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("gemini", b'{"generateContentRequest": {"model": "models/a", "x": "\xff"}}'),
        ("gemini_embeddings", b'{"requests": [{"model": "models/a", "x": "\xff"}]}'),
        ("gemini_batches", b'{"batch": {"model": "models/a", "x": "\xff"}}'),
    ],
)
def test_model_is_replaced_beside_bytes_that_are_not_utf8(api: str, body: bytes) -> None:
    changed = with_values(body, FORMATS[api].with_model(members(body) or {}, "b"))
    assert changed == body.replace(b"models/a", b"models/b")


def test_object_with_a_name_that_is_not_utf8_is_unchanged() -> None:
    body = b'{"batch": {"model": "models/a", "x\xff": 1}}'
    assert with_values(body, FORMATS["gemini_batches"].with_model(members(body) or {}, "b")) == body


def test_request_of_another_sender_is_unchanged() -> None:
    values = {"selection": Selection(actors=("bob",)), "aliases": {"fast": "x"}}
    assert edited(SPACED, "anthropic_messages", **values) == SPACED


@pytest.mark.parametrize("message", [b"", b"[]", b"\xff", b'"fast"', b'{"model": null}'])
def test_message_of_another_shape_is_unchanged(message: bytes) -> None:
    assert edited(message, "openai_responses", aliases={"fast": "x"}) == message
