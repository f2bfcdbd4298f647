"""Models that the config file allows and denies."""

import dataclasses
import json
from typing import Any

import pytest

from aibridge_addon.access.model_rule import ModelRule
from aibridge_addon.access.policies import Asked
from aibridge_addon.access.policies.model_rules import ModelRules
from aibridge_addon.access.selection import Selection

from .test_rate_limits import asked_by

EVERYBODY = Selection()


def asked(model: str, **members: Any) -> Asked:
    body = json.dumps({"model": model, **members}).encode()
    return dataclasses.replace(asked_by("alice", team="ads", body=body), model=model)


def refused(asked: Asked, *rules: ModelRule) -> str | None:
    refusal = ModelRules(rules).check(asked)
    if refusal is None:
        return None
    assert (refusal.status, refusal.reason) == (400, "model_not_allowed")
    assert refusal.headers["x-should-retry"] == "false"
    return refusal.message


def rule(**values: Any) -> ModelRule:
    return ModelRule(**{"selection": EVERYBODY, **values})


def test_model_outside_of_the_allowed_ones_is_refused() -> None:
    only_haiku = rule(allow=("claude-haiku-*",))
    assert refused(asked("claude-haiku-4-5"), only_haiku) is None
    message = refused(asked("claude-opus-5"), only_haiku)
    assert message == "aibridge: the model 'claude-opus-5' is not allowed for alice."


def test_rule_for_a_model_denies_a_request_that_names_it_twice() -> None:
    denied = rule(selection=Selection(models=("big",)), deny=("*",))
    body = b'{"model": "big", "model": "small"}'
    twice = dataclasses.replace(asked_by("alice", body=body), model="small")
    assert refused(twice, denied)
    assert refused(asked("small"), denied) is None


def test_denied_model_is_refused_even_if_another_rule_allows_it() -> None:
    rules = rule(allow=("claude-*",)), rule(deny=("*-opus-*",))
    assert refused(asked("claude-haiku-4-5"), *rules) is None
    assert refused(asked("claude-opus-5"), *rules)


@pytest.mark.parametrize(
    "spelling",
    [
        "CLAUDE-Opus-5",
        " claude-opus-5\n",
        "claude-ｏpus-5",
        "claude-o\N{ZERO WIDTH SPACE}pus-5",
        "claude-o\N{SOFT HYPHEN}pus-5",
    ],
)
def test_no_spelling_of_a_denied_model_passes(spelling: str) -> None:
    assert refused(asked(spelling), rule(deny=("*-opus-*",)))
    assert refused(asked(spelling), rule(deny=("*-OPUS-*",)))
    assert refused(asked(spelling), rule(selection=Selection(models=("*-opus-*",)), deny=("*",)))
    assert refused(asked(spelling), rule(allow=("claude-opus-5",))), "only as it is written"


def test_rule_is_only_for_the_senders_that_it_selects() -> None:
    of_search = rule(selection=Selection(teams=("search",)), deny=("*",))
    of_ads = rule(selection=Selection(teams=("ads",)), deny=("*",))
    assert refused(asked("claude-opus-5"), of_search) is None
    assert refused(asked("claude-opus-5"), of_ads)


@pytest.mark.parametrize(
    "members", [{"fallbacks": ["gpt-5.2"]}, {"models": ["gpt-5.2"]}, {"agent": "x"}], ids=str
)
def test_model_in_another_member_is_checked_too(members: dict[str, Any]) -> None:
    assert refused(asked("claude-opus-5", **members), rule(allow=("claude-*",)))


def test_request_without_a_model_is_refused_where_models_are_restricted() -> None:
    nameless = dataclasses.replace(asked_by("alice"), model=None)
    assert refused(nameless, rule(allow=("claude-*",)))
    assert refused(nameless, rule(aliases={"a": "b"})) is None


def test_alias_is_applied_before_models_are_checked() -> None:
    rules = rule(aliases={"fast": "claude-haiku-4-5"}), rule(allow=("claude-haiku-*",))
    assert refused(asked("fast"), *rules) is None
    assert refused(asked("claude-opus-5"), *rules)
    to_opus = rule(aliases={"claude-haiku-4-5": "claude-opus-5"}, allow=("claude-haiku-*",))
    assert refused(asked("claude-haiku-4-5"), to_opus)


def test_alias_that_cannot_be_applied_does_not_admit_its_model() -> None:
    """To a signed request, to a model of the customer's own, or on a route that is not read."""
    rules = rule(aliases={"big": "claude-haiku-4-5"}), rule(allow=("claude-haiku-*",))
    request = asked("big")
    assert refused(dataclasses.replace(request, is_signed=True), *rules)
    for changes in (
        {"path_values": {"tuned_model": "big"}},
        {"path_values": {"endpoint": "big"}},
        {"api": None},
    ):
        route = dataclasses.replace(request.route, **changes)
        assert refused(dataclasses.replace(request, route=route), *rules)
    in_path = dataclasses.replace(request.route, path_values={"model": "big"})
    assert refused(dataclasses.replace(request, route=in_path), *rules) is None
    assert refused(request, *rules) is None


BATCH = [
    {"custom_id": str(number), "params": {"model": model, "max_tokens": 9, "messages": []}}
    for number, model in enumerate(("claude-haiku-4-5", "big"))
]


def batch() -> Asked:
    """Return a batch of two models."""
    body = json.dumps({"requests": BATCH}).encode()
    request = asked_by("alice", body=body)
    route = dataclasses.replace(request.route, api="anthropic_batches")
    return dataclasses.replace(request, route=route, model="claude-haiku-4-5")


def test_each_model_of_a_batch_is_checked_and_no_alias_admits_it() -> None:
    aliases = rule(aliases={"big": "claude-haiku-4-5"})
    assert refused(batch(), aliases) is None
    assert refused(batch(), aliases, rule(allow=("claude-haiku-*",)))
    assert refused(batch(), rule(deny=("big",)))
    assert refused(batch(), rule(allow=("claude-*", "big"))) is None
    of_big = Selection(models=("big",))
    assert refused(batch(), rule(selection=of_big, deny=("*",)))
    assert refused(batch(), rule(selection=Selection(models=("gpt-*",)), deny=("*",))) is None


def test_alias_does_not_admit_a_second_model_that_is_sent_as_it_is() -> None:
    rules = rule(aliases={"big": "claude-haiku-4-5"}), rule(allow=("claude-haiku-*",))
    assert refused(asked("claude-haiku-4-5", fallbacks=["big"]), *rules)
    assert refused(asked("big", fallbacks=["claude-haiku-4-5"]), *rules) is None


def test_rule_for_a_model_holds_where_the_request_names_it_second() -> None:
    of_gpt = rule(selection=Selection(models=("gpt-*",)), allow=("gpt-5-mini*",))
    assert refused(asked("claude-opus-5", models=["gpt-5.2"]), of_gpt)
    assert refused(asked("claude-opus-5", models=["gpt-5-mini"]), of_gpt) is None
    assert refused(asked("claude-opus-5"), of_gpt) is None


def test_message_that_names_its_model_is_aliased_before_it_is_checked() -> None:
    rules = rule(aliases={"fast": "claude-haiku-4-5"}), rule(allow=("claude-haiku-*",))
    message = dataclasses.replace(asked("fast", type="x"), is_message=True, model=None)
    assert refused(message, *rules) is None
    assert refused(dataclasses.replace(message, is_message=False), *rules)


def test_alias_to_a_deployment_is_held_to_the_model_of_the_deployment() -> None:
    route = asked("gpt-5").route
    models = {"our-chat": "gpt-5", "our-small-chat": "gpt-5-mini"}
    mapped = dataclasses.replace(route, provider=dataclasses.replace(route.provider, models=models))
    request = dataclasses.replace(asked("gpt-5"), route=mapped)
    for name in ("gpt-5-mini", "our-small-chat"):
        to_small = rule(aliases={"gpt-5": name})
        assert refused(request, to_small, rule(allow=("gpt-5-mini",))) is None
        assert refused(request, to_small, rule(deny=("gpt-5-mini",)))
