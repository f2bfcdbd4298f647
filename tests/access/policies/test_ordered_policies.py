"""The order of the policies, and the requests that each of them checks."""

import dataclasses
from typing import Any

import pytest

from aibridge_addon.access.policies import (
    Asked,
    BrowserOrigin,
    Policy,
    PolicyContext,
    admit_or_refuse,
    ordered_policies,
)
from aibridge_addon.access.sender import Admission, Sender
from aibridge_addon.access.tokens import AccessToken, TokenError
from aibridge_addon.providers.credentials import PLACEHOLDER_KEY, Credential
from aibridge_addon.providers.identity import Actor

from .test_browser_origin import ASKED


def refuse(admission: Admission) -> None:
    raise TokenError("no_token", "this proxy asks for a token.")


def policies(**changes: Any) -> tuple[Policy, ...]:
    given: dict[str, Any] = {
        "check_admission": lambda admission: None,
        "browser_origin": BrowserOrigin(),
        "require_actor": True,
        "actor_header": "x-actor",
        "must_record": True,
        "can_record": lambda: False,
    }
    return ordered_policies(PolicyContext(**(given | changes)))


def reason(asked: Asked, **changes: Any) -> tuple[int, str] | None:
    refusal = admit_or_refuse(policies(**changes), asked)
    return (refusal.status, refusal.reason) if refusal else None


def with_token(asked: Asked, **limits: Any) -> Asked:
    _, token = AccessToken.make("alice", **limits)
    sender = Sender(actor=Actor(id="alice"), admission=Admission(headers={}, token=token))
    return dataclasses.replace(asked, sender=sender)


def test_policies_are_checked_in_order() -> None:
    placeholder = Credential(kind="byok", secret=PLACEHOLDER_KEY)
    asked = dataclasses.replace(ASKED, hosts=("evil.example",), uses_central_tools=True)
    assert reason(asked, check_admission=refuse) == (400, "no_token")
    assert reason(asked) == (403, "foreign_host")
    asked = dataclasses.replace(ASKED, credential=placeholder)
    assert reason(with_token(asked, providers=("x",))) == (400, "token_scope")
    assert reason(asked) == (400, "no_central_key")
    assert reason(ASKED) == (400, "no_actor")
    assert reason(with_token(ASKED)) == (503, "not_recorded")
    assert reason(with_token(ASKED), can_record=lambda: True) is None


def test_passthrough_request_needs_neither_actor_nor_store() -> None:
    assert reason(dataclasses.replace(ASKED, is_recorded=False)) is None


def test_options_switch_policies_off() -> None:
    assert reason(ASKED, require_actor=False, must_record=False) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"content": lambda: b'{"model":"dear"}'},
        {"content": lambda: b'{"type":"x","model":"dear"}', "is_message": True},
        {"content": lambda: b"no JSON"},
        {"content": lambda: None, "is_message": True},
        {"path": "/v1/messages?model=dear"},
        {"fields": ((b"X-Model", b"cheap"), (b"x-model", b"dear"))},
        {"model": "dear"},
        {"model": None},
    ],
)
def test_access_token_with_model_limits_is_refused_for_other_models(
    changes: dict[str, Any],
) -> None:
    asked = dataclasses.replace(ASKED, model="cheap", content=lambda: b'{"model":"cheap"}')
    asked = with_token(asked, models=("cheap",))
    assert reason(asked, must_record=False) is None
    assert reason(dataclasses.replace(asked, **changes)) == (400, "token_scope")


def test_request_without_a_body_passes_model_limits() -> None:
    asked = dataclasses.replace(ASKED, content=lambda: None, must_name_model=False)
    assert reason(with_token(asked, models=("cheap",)), must_record=False) is None


def test_revoked_actor_is_refused_by_name_or_pattern() -> None:
    sender = Sender(actor=Actor(id="eve@example.com"), admission=Admission(headers={}))
    asked = dataclasses.replace(ASKED, sender=sender)
    relaxed = {"require_actor": False, "must_record": False}
    for names in (("eve@example.com",), ("bob", "*@example.com")):
        assert reason(asked, revoked_actors=names, **relaxed) == (400, "revoked_actor")
    assert reason(asked, revoked_actors=("eve",), **relaxed) is None
