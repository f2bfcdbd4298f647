"""The order of the policies, and what each is asked about."""

import dataclasses

import pytest

from aibridge_addon.access.policies import (
    BrowserOrigin,
    PolicyContext,
    first_refusal,
    ordered_policies,
)
from aibridge_addon.access.sender import Admission, Sender
from aibridge_addon.access.tokens import AccessToken, TokenError
from aibridge_addon.providers.credentials import PLACEHOLDER_KEY, Credential
from aibridge_addon.providers.identity import Actor

from .test_browser_origin import ASKED


def refuse(admission: Admission) -> None:
    raise TokenError("no_token", "this proxy asks for a token.")


def policies(**changes):
    given = {
        "check_admission": lambda admission: None,
        "browser_origin": BrowserOrigin(),
        "require_actor": True,
        "actor_header": "x-actor",
        "must_record": True,
        "can_record": lambda: False,
    }
    return ordered_policies(PolicyContext(**(given | changes)))


def reason(asked, **changes):
    refusal = first_refusal(policies(**changes), asked)
    return refusal and (refusal.status, refusal.reason)


def by_token(asked, **scope):
    _, token = AccessToken.make("alice", **scope)
    sender = Sender(actor=Actor(id="alice"), admission=Admission(headers={}, token=token))
    return dataclasses.replace(asked, sender=sender)


def test_policies_are_asked_in_order():
    placeholder = Credential(kind="byok", secret=PLACEHOLDER_KEY)
    asked = dataclasses.replace(ASKED, hosts=("evil.example",), uses_central_tools=True)
    assert reason(asked, check_admission=refuse) == (400, "no_token")
    assert reason(asked) == (403, "foreign_host")
    asked = dataclasses.replace(ASKED, credential=placeholder)
    assert reason(by_token(asked, providers=("x",))) == (400, "token_scope")
    assert reason(asked) == (400, "no_central_key")
    assert reason(ASKED) == (400, "no_actor")
    assert reason(by_token(ASKED)) == (503, "not_recorded")
    assert reason(by_token(ASKED), can_record=lambda: True) is None


def test_what_is_not_recorded_needs_neither_actor_nor_store():
    assert reason(dataclasses.replace(ASKED, is_recorded=False)) is None


def test_options_leave_policies_out():
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
def test_model_restricted_access_token_is_held_to_its_models(changes):
    asked = dataclasses.replace(ASKED, model="cheap", content=lambda: b'{"model":"cheap"}')
    asked = by_token(asked, models=("cheap",))
    assert reason(asked, must_record=False) is None
    assert reason(dataclasses.replace(asked, **changes)) == (400, "token_scope")


def test_request_without_a_body_names_no_model():
    asked = dataclasses.replace(ASKED, content=lambda: None, must_name_model=False)
    assert reason(by_token(asked, models=("cheap",)), must_record=False) is None
