"""Sends of a request: which failures are followed by which send, and the budgets of both."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.access.keys.failures import FAILURE_KINDS, Failure, FailureKind
from aibridge_addon.access.keys.send_plan import RetryShare, SendPlan, Step
from aibridge_addon.providers.resend_rules import ResendRules


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Exhausted(RetryShare):
    def take(self, now: float) -> bool:
        return False


def failed(kind: FailureKind, seconds: float | None = None) -> Failure:
    return Failure(kind=kind, http_status=None, seconds=seconds)


def plan(
    sends: int = 3,
    *,
    clock: Clock | None = None,
    share: RetryShare | None = None,
    retry_errors: bool = False,
) -> SendPlan:
    rules = ResendRules(max_sends=sends, retry_errors=retry_errors)
    return SendPlan(
        rules, share or RetryShare(), clock=clock or Clock(), spread=lambda low, high: 1.0
    )


def after(
    made: SendPlan, failure: Failure, *, other: bool = False, fallback: bool = False
) -> Step | None:
    return made.after(failure, has_other_key=other, can_fall_back=fallback)


@pytest.mark.parametrize("kind", ["rate", "quota", "credential"])
def test_failure_of_a_key_moves_to_every_other_key_at_once(kind: FailureKind) -> None:
    made = plan(sends=1)
    for _ in range(20):  # a walk over the pool is no retry
        assert after(made, failed(kind, 60), other=True) == Step(to="other_key")
    assert after(made, failed(kind, 60)) is None


def test_429_without_a_hint_tries_one_other_key() -> None:
    made = plan()
    assert after(made, failed("request_rate"), other=True) == Step(to="other_key")
    assert after(made, failed("request_rate"), other=True) is None


def test_request_that_was_not_processed_is_sent_again_once_without_any_rule() -> None:
    unprocessed = replace(failed("overload"), is_unprocessed=True)
    made = plan(sends=1, share=Exhausted())
    assert after(made, unprocessed) == Step(to="same_key")
    assert after(made, unprocessed) is None
    made = plan(sends=2)
    steps = [after(made, unprocessed) for _ in range(3)]
    assert steps == [Step(to="same_key"), Step(to="same_key", pause=0.5), None]


def test_overload_is_retried_with_the_same_key_after_growing_pauses() -> None:
    made = plan(sends=4)
    pauses = [after(made, failed("overload"), other=True) for _ in range(4)]
    expected = [Step(to="same_key", pause=pause) for pause in (0.5, 1.0, 2.0)]
    assert pauses == [*expected, None]


@given(st.integers(1, 3))
def test_pauses_spread_by_a_quarter(sends: int) -> None:
    made = SendPlan(ResendRules(max_sends=9), RetryShare(), clock=Clock())
    steps = [after(made, failed("overload")) for _ in range(sends)]
    step = steps[-1]
    assert step is not None
    assert 0.75 <= step.pause / (0.5 * 2 ** (sends - 1)) <= 1.25


def test_nothing_is_retried_by_default() -> None:
    for kind in FAILURE_KINDS:
        assert after(plan(sends=1, retry_errors=True), failed(kind)) is None


def test_other_errors_are_retried_only_if_configured() -> None:
    assert after(plan(), failed("error")) is None
    assert after(plan(retry_errors=True), failed("error")) == Step(to="same_key", pause=0.5)


@pytest.mark.parametrize("kind", ["caller", "rate", "quota", "credential", "request_rate"])
def test_refusals_are_not_retried_with_the_same_key(kind: FailureKind) -> None:
    assert after(plan(), failed(kind)) is None


def test_stated_time_counts_and_a_longer_one_than_is_left_is_passed_on() -> None:
    clock = Clock()
    made = plan(clock=clock)
    assert after(made, failed("overload", 4)) == Step(to="same_key", pause=4)
    clock.now = 12
    assert after(made, failed("overload", 4)) is None
    assert after(plan(), failed("overload", 16)) is None


def test_fallback_follows_when_keys_and_retries_are_used_up() -> None:
    made = plan(sends=2)
    assert after(made, failed("overload"), fallback=True) == Step(to="same_key", pause=0.5)
    assert after(made, failed("overload"), fallback=True) == Step(to="fallback")


def test_retries_are_at_most_a_fifth_of_the_requests() -> None:
    share, clock = RetryShare(), Clock()
    for number in range(1000):
        clock.now = number / 100
        share.note_request(clock.now)
    retried = [after(plan(share=share, clock=clock), failed("overload")) for _ in range(1000)]
    assert sum(step is not None for step in retried) == pytest.approx(200, abs=2)
    clock.now += 10
    assert [share.take(clock.now) for _ in range(4)] == [True, True, True, False]
