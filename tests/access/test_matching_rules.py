"""The rules for a request are those that a search finds, whatever was asked before."""

import dataclasses
from typing import Any

import pytest
from access.policies.test_rate_limits import asked_by

from aibridge_addon.access import matching_rules
from aibridge_addon.access.asked import Asked
from aibridge_addon.access.matching_rules import MatchingRules
from aibridge_addon.access.model_rule import ModelRule
from aibridge_addon.access.selection import Selection


def asked(
    *,
    actor: str = "a",
    team: str = "a",
    model: str | None = "a",
    provider: str = "a",
    client: str = "a",
    api: str = "anthropic_messages",
    body: bytes = b"{}",
) -> Asked:
    found = asked_by(actor, team=team, client=client, body=body)
    instance = dataclasses.replace(found.route.provider, name=provider)
    route = dataclasses.replace(found.route, provider=instance, api=api)
    return dataclasses.replace(found, model=model, route=route)


@pytest.mark.parametrize("part", ["actor", "team", "model", "provider", "client"])
def test_requests_that_differ_in_one_part_have_the_rules_for_it(part: str) -> None:
    selecting: Any = {f"{part}s": ("b*",)}
    rules = (ModelRule(selection=Selection(**selecting)), ModelRule(selection=Selection()))
    table = MatchingRules(rules)
    for value in ("a", "b", "a", "bb", "b"):
        given: Any = {part: value}
        assert table.of(asked(**given)) == (rules if value[0] == "b" else rules[1:]), value


@pytest.mark.parametrize("where", [{"model": None}, {"api": "anthropic_batches"}])
def test_rules_for_models_that_only_the_body_names_are_not_remembered(where: Any) -> None:
    rule = ModelRule(selection=Selection(models=("b",)))
    table = MatchingRules([rule])
    for model, found in (("a", ()), ("b", (rule,)), ("a", ())):
        body = f'{{"requests": [{{"params": {{"model": "{model}"}}}}]}}'.encode()
        assert table.of(asked(body=body, **where)) == found


NAMING_B = [
    b'{"model": "a", "models": ["b"]}',
    b'{"model": "b", "model": "a"}',
    b'{"Model": "b", "model": "a"}',
    b'{"model": "a", "tools": [{"type": "advisor_20260301", "model": "b"}]}',
    b"no object",
]


@pytest.mark.parametrize("body", NAMING_B)
def test_rules_by_every_model_are_for_each_request_that_may_be_served_by_one(body: bytes) -> None:
    rule = ModelRule(selection=Selection(models=("b",)))
    by_every, by_requested = MatchingRules([rule], by_every_model=True), MatchingRules([rule])
    for content, found in ((b'{"model": "a"}', ()), (body, (rule,)), (b'{"model": "a"}', ())):
        assert by_every.of(asked(body=content)) == found
        assert by_requested.of(asked(body=content)) == ()


def test_rules_for_a_model_are_for_requests_without_a_model() -> None:
    table = MatchingRules([rule := ModelRule(selection=Selection(models=("b",)))])
    unnamed = asked(model=None, api="openai_batches", body=b'{"input_file_id": "file-1"}')
    assert table.of(unnamed) == (rule,)
    assert table.of(dataclasses.replace(unnamed, must_name_model=False)) == ()


def test_rules_by_every_model_leave_out_the_model_that_an_alias_replaces() -> None:
    rule = ModelRule(selection=Selection(models=("requested",)))
    body = b'{"model": "requested"}'
    found = asked(model="sent", body=body)
    assert found.interception
    begun = dataclasses.replace(found.interception, model="requested")
    sent = dataclasses.replace(found, interception=begun)
    assert MatchingRules([rule], by_every_model=True).of(sent) == ()


def test_number_of_kinds_that_are_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching_rules, "_MOST_KNOWN", 3)
    table = MatchingRules([ModelRule(selection=Selection(actors=("1*",)))])
    for number in range(20):
        assert bool(table.of(asked(actor=str(number)))) is str(number).startswith("1")
        assert len(table._known) <= 3
    known = dict(table._known)
    table.of(asked(actor="1" * 1_000))
    assert table._known == known, "a long name is not remembered"
