"""Circuit breakers as a policy: keys, outcomes, and refusals."""

import dataclasses
from typing import Any

from aibridge_addon.access.policies import Asked, CircuitBreakers, Refusal, admit_or_refuse
from aibridge_addon.facts import UNPROCESSED, ResponseBegan, SendFailed, Status

from .test_rate_limits import Clock, asked_by, ended


class Provider:
    """The policy in front of a provider, whose answers a test chooses."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.states: list[str] = []
        self.policy = CircuitBreakers(
            lambda key, state, trips: self.states.append(state), self.clock
        )

    def ask(self, status: int | None, *, enabled: bool = True, **values: Any) -> Refusal | None:
        """Send a request that gets a status; None: its connection fails."""
        asked = request(enabled=enabled, **values)
        assert asked.interception
        refusal = admit_or_refuse([self.policy], asked)
        if refusal is None and status is not None:
            self.publish(
                ResponseBegan(interception=asked.interception, http_status=status, retry_after=None)
            )
        if refusal is None:
            failed = status is None or status >= 400
            self.publish(ended(asked, status=Status.FAILED if failed else Status.COMPLETED))
        return refusal

    def publish(self, fact: Any) -> None:
        self.policy.handlers[type(fact)](fact)


def request(*, enabled: bool = True, model: str = "claude-opus-5") -> Asked:
    asked = asked_by("alice")
    provider = dataclasses.replace(asked.route.provider, circuit_breaker=enabled)
    route = dataclasses.replace(asked.route, provider=provider)
    return dataclasses.replace(asked, route=route, model=model)


def test_breaker_opens_after_failures_and_refuses_with_the_time_to_wait() -> None:
    provider = Provider()
    for _ in range(5):
        assert provider.ask(529) is None
    refusal = provider.ask(200)
    assert refusal
    assert (refusal.status, refusal.reason) == (503, "circuit_open")
    assert refusal.headers["retry-after"] == "30"
    assert provider.states[-1] == "open"
    provider.clock.now = 30
    for _ in range(3):
        assert provider.ask(200) is None
    assert provider.states[-1] == "closed"


def test_failed_connections_count_and_breakers_are_per_model() -> None:
    provider = Provider()
    for _ in range(5):
        assert provider.ask(None) is None
    assert provider.ask(200, model="claude-haiku-4-5") is None
    assert provider.ask(200) is not None


def test_provider_without_a_breaker_is_never_refused() -> None:
    provider = Provider()
    for _ in range(20):
        assert provider.ask(503, enabled=False) is None
    assert provider.states == []


def test_client_that_leaves_counts_only_if_the_provider_was_silent_for_long() -> None:
    provider = Provider()
    for seconds, opens in ((5.0, False), (61.0, True)):
        for _ in range(5):
            asked = request()
            assert admit_or_refuse([provider.policy], asked) is None
            end = dataclasses.replace(ended(asked, status=Status.CANCELLED), seconds=seconds)
            provider.publish(end)
        assert (provider.ask(200) is not None) == opens


def test_number_of_breakers_is_bounded() -> None:
    provider = Provider()
    for number in range(1_000):
        provider.ask(200, model=f"model-{number}")
    assert len(provider.policy._breakers) <= 501


def test_requests_that_a_provider_did_not_process_leave_the_breaker_closed() -> None:
    provider = Provider()
    asked = request()
    assert asked.interception
    for number in range(10):
        assert admit_or_refuse([provider.policy], asked) is None, number
        provider.publish(
            SendFailed(
                interception=asked.interception,
                http_status=None,
                failure=UNPROCESSED,
                to="same_key",
                retry_after=None,
            )
        )


def test_failed_send_counts_and_its_retry_is_admitted_again() -> None:
    provider = Provider()
    trips: list[int] = []
    provider.policy = CircuitBreakers(
        clock=provider.clock, on_trip=lambda key, number: trips.append(number)
    )
    asked = request()
    assert asked.interception
    for number in range(5):
        assert admit_or_refuse([provider.policy], asked) is None, number
        provider.publish(
            SendFailed(
                interception=asked.interception,
                http_status=503,
                failure="overload",
                to="same_key",
                retry_after=200,
            )
        )
    refusal = admit_or_refuse([provider.policy], asked)
    assert refusal
    assert (refusal.reason, refusal.failure, trips) == ("circuit_open", "circuit_open", [1])
    assert refusal.retry_after == 200
