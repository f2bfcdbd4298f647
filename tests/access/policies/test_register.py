"""Policies that modules outside of the package register."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from aibridge_addon.access import policies
from aibridge_addon.access.policies import (
    Asked,
    BrowserOrigin,
    Policy,
    PolicyContext,
    Refusal,
    admit_or_refuse,
    ordered_policies,
)

from .test_browser_origin import ASKED

REFUSAL = Refusal(status=429, reason="too_many", message="not now")
CONTEXT = PolicyContext(
    check_admission=lambda admission: None, browser_origin=BrowserOrigin(), actor_header="x-actor"
)


class Outside:
    """A policy of another package."""

    def __init__(self, judge: Callable[[Asked], Refusal | None]) -> None:
        self._judge = judge

    def check(self, asked: Asked) -> Refusal | None:
        """Return what the test decides."""
        return self._judge(asked)


@pytest.fixture(autouse=True)
def _forget_registered_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "_REGISTERED", [])


def refusal_of(asked: Asked) -> Refusal | None:
    return admit_or_refuse(ordered_policies(CONTEXT), asked)


def test_registered_policy_refuses_a_request_that_all_built_in_policies_allow() -> None:
    assert refusal_of(ASKED) is None
    policies.register(lambda context: Outside(lambda asked: REFUSAL))
    assert refusal_of(ASKED) == REFUSAL


def test_built_in_policies_are_checked_before_registered_ones() -> None:
    policies.register(lambda context: Outside(lambda asked: REFUSAL))
    foreign = dataclasses.replace(ASKED, hosts=("evil.example",), uses_central_tools=True)
    refusal = refusal_of(foreign)
    assert refusal
    assert refusal.reason == "foreign_host"


def test_factory_gets_the_settings_and_can_leave_its_policy_out() -> None:
    contexts = []

    def factory(context: PolicyContext) -> Policy | None:
        contexts.append(context)
        return None

    policies.register(factory)
    assert refusal_of(ASKED) is None
    assert contexts == [CONTEXT]


@pytest.mark.parametrize("verdict", [True, "no", Refusal(status=200, reason="r", message="m")])
def test_request_is_refused_where_a_registered_policy_returns_nonsense(verdict: Any) -> None:
    policies.register(lambda context: Outside(lambda asked: verdict))
    refusal = refusal_of(ASKED)
    assert refusal
    assert (refusal.status, refusal.reason) == (400, "policy_failed")


def test_request_is_refused_where_a_registered_policy_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(asked: Asked) -> Refusal | None:
        raise RuntimeError("broken rule")

    policies.register(lambda context: Outside(fail))
    refusal = refusal_of(ASKED)
    assert refusal
    assert (refusal.status, refusal.reason) == (400, "policy_failed")
    assert "Outside" in refusal.message
    [entry] = caplog.records
    assert entry.levelno == logging.ERROR
    assert "broken rule" in caplog.text
