"""Circuit breakers: states, probes with leases, and growing times."""

import pytest
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aibridge_addon.access.limits.breaker import Breaker, outcome_of


def opened(breaker: Breaker, now: float = 0.0) -> Breaker:
    for number in range(5):
        breaker.report(str(number), "failure", now)
    assert breaker.state(now) == "open"
    return breaker


def probe(breaker: Breaker, now: float, *names: str) -> None:
    for name in names:
        assert breaker.wait_for(now) == 0
        breaker.admit(name, now)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "success"),
        (400, "neutral"),
        (401, "neutral"),
        (429, "neutral"),
        (500, "neutral"),
        (502, "neutral"),
        (503, "failure"),
        (504, "failure"),
        (529, "failure"),
        (None, "failure"),
    ],
)
def test_only_unavailability_counts_as_a_failure(status: int | None, outcome: str) -> None:
    assert outcome_of(status) == outcome


def test_five_failures_in_a_row_open_the_breaker() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.report("", "failure", 0)
    breaker.report("", "neutral", 0)
    assert breaker.wait_for(0) == 0
    breaker.report("", "failure", 0)
    assert breaker.wait_for(0) == 30


def test_success_or_time_between_failures_keeps_the_breaker_closed() -> None:
    breaker = Breaker()
    for now in range(100):
        breaker.report("", "success" if now % 5 == 4 else "failure", 0)
        assert breaker.state(0) == "closed"
    breaker = Breaker()
    for number in range(100):
        breaker.report("", "failure", number * 2.6)
        assert breaker.state(number * 2.6) == "closed"


def test_three_successful_probes_close_the_breaker() -> None:
    breaker = opened(Breaker())
    probe(breaker, 30, "a", "b", "c")
    assert breaker.wait_for(30) > 0, "no more than three probes at once"
    for name in "ab":
        breaker.report(name, "success", 31)
        assert breaker.state(31) == "half_open"
    breaker.report("c", "success", 31)
    assert breaker.state(31) == "closed"


def test_failed_probe_opens_the_breaker_for_twice_the_time_up_to_five_minutes() -> None:
    breaker, now = opened(Breaker()), 0.0
    for seconds in (30, 60, 120, 240, 300, 300):
        assert breaker.wait_for(now) == seconds
        now += seconds
        probe(breaker, now, "p")
        breaker.report("p", "failure", now)
    assert breaker.trips == 7


def test_longer_retry_after_of_the_provider_is_kept_up_to_five_minutes() -> None:
    for stated, waits in ((10, 30), (120, 120), (9_999, 300)):
        breaker = Breaker()
        for _ in range(5):
            breaker.report("", "failure", 0, stated)
        assert breaker.wait_for(0) == waits


def test_probe_that_never_reports_is_replaced_after_its_lease() -> None:
    breaker = opened(Breaker())
    probe(breaker, 30, "a", "b", "c")
    assert breaker.wait_for(89) > 0
    probe(breaker, 91, "d", "e", "f")


def test_neutral_probe_frees_its_place() -> None:
    breaker = opened(Breaker())
    probe(breaker, 30, "a", "b", "c")
    breaker.report("a", "neutral", 31)
    probe(breaker, 31, "d")


def test_results_of_requests_from_before_change_nothing() -> None:
    breaker = opened(Breaker())
    breaker.report("old", "success", 10)
    assert breaker.state(10) == "open"
    for number in range(10):
        breaker.report(f"old-{number}", "failure", 40)
    assert breaker.state(40) == "half_open"


class Requests(RuleBasedStateMachine):
    """Requests with any outcomes, or none, at any times: the breaker never blocks for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now, self.running, self.number = Breaker(), 0.0, list[str](), 0

    @rule()
    def ask(self) -> None:
        if self.breaker.wait_for(self.now) == 0:
            self.number += 1
            self.breaker.admit(str(self.number), self.now)
            self.running.append(str(self.number))

    @rule(outcome=st.sampled_from(["success", "failure", "neutral"]), times=st.integers(1, 2))
    def report(self, outcome: str, times: int) -> None:
        if self.running:
            name = self.running.pop(0)
            for _ in range(times):
                self.breaker.report(name, outcome, self.now)  # type: ignore[arg-type]

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def wait_is_bounded(self) -> None:
        assert 0 <= self.breaker.wait_for(self.now) <= 300

    @invariant()
    def any_request_passes_in_the_end(self) -> None:
        assert min(self.breaker.wait_for(self.now + s) for s in (0, 301, 362)) == 0


Requests.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=40, deadline=None
)
TestRequests = Requests.TestCase


def test_outcome_of_an_earlier_generation_is_ignored() -> None:
    """A request that passed before an outage says nothing about the provider after it."""
    breaker = Breaker()
    old = breaker.admit("old", 0)
    opened(breaker)
    probe(breaker, 30, "a", "b", "c")
    for name in "abc":
        breaker.report(name, "success", 31)
    assert breaker.state(31) == "closed"
    for _ in range(10):
        breaker.report("old", "failure", 32, generation=old)
    assert breaker.state(32) == "closed"


def test_late_probe_of_an_earlier_generation_does_not_open_the_breaker_again() -> None:
    breaker = opened(Breaker())
    first = breaker.admit("a", 30)
    probe(breaker, 30, "b")
    breaker.report("b", "failure", 31)
    assert breaker.wait_for(31) == 60
    second = breaker.admit("a", 91)  # the same request, sent again
    breaker.report("a", "failure", 92, generation=first)
    assert breaker.state(92) == "half_open"
    breaker.report("a", "failure", 92, generation=second)
    assert breaker.state(92) == "open"


class Oracle:
    """The rules in their plainest form, over the whole history of the current state."""

    def __init__(self) -> None:
        self.state, self.until, self.seconds = "closed", 0.0, 30.0
        self.row: list[float] = []
        """Times of the failures since the last success."""
        self.probes: dict[str, float] = {}
        self.successes = 0

    def at(self, now: float) -> str:
        return "half_open" if self.state == "open" and now >= self.until else self.state

    def passes(self, now: float) -> bool:
        leased = [end for end in self.probes.values() if end > now]
        return self.at(now) == "closed" or (self.at(now) == "half_open" and len(leased) < 3)

    def open(self, now: float, seconds: float, stated: float | None) -> None:
        self.state, self.seconds = "open", min(seconds, 300)
        self.until = now + max(self.seconds, min(stated or 0, 300))
        self.probes, self.successes = {}, 0

    def report(self, name: str, outcome: str, now: float, stated: float | None) -> None:
        if self.at(now) == "closed":
            if outcome == "success":
                self.row = []
            elif outcome == "failure":
                self.row.append(now)
                if sum(time >= now - 10 for time in self.row) >= 5:
                    self.open(now, 30, stated)
                    self.row = []
        elif self.at(now) == "half_open" and self.probes.pop(name, None) is not None:
            if outcome == "failure":
                self.open(now, self.seconds * 2, stated)
            elif outcome == "success":
                self.successes += 1
                if self.successes == 3:
                    self.state, self.row = "closed", []


class WithOracle(RuleBasedStateMachine):
    """The breaker and the oracle agree on each state and each request, also on stale outcomes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.oracle, self.now = Breaker(), Oracle(), 0.0
        self.running: list[tuple[str, int]] = []
        self.stale: list[tuple[str, int]] = []
        self.number = 0

    @rule(copies=st.integers(1, 6))
    def ask(self, copies: int) -> None:
        for _ in range(copies):
            passes = self.breaker.wait_for(self.now) == 0
            assert passes == self.oracle.passes(self.now)
            if not passes:
                return
            self.number += 1
            name = str(self.number)
            generation = self.breaker.admit(name, self.now)
            if self.oracle.at(self.now) == "half_open":
                self.oracle.probes = {
                    known: end for known, end in self.oracle.probes.items() if end > self.now
                } | {name: self.now + 60}
            self.running.append((name, generation))

    @rule(
        outcome=st.sampled_from(["success", "failure", "failure", "neutral"]),
        most=st.integers(1, 6),
        stated=st.one_of(st.none(), st.floats(0, 1000)),
    )
    def report(self, outcome: str, most: int, stated: float | None) -> None:
        for _ in range(min(most, len(self.running))):
            name, generation = self.running.pop(0)
            is_current = generation == self.breaker.generation
            self.breaker.report(name, outcome, self.now, stated, generation=generation)  # type: ignore[arg-type]
            if is_current:
                self.oracle.report(name, outcome, self.now, stated)
            self.stale.append((name, generation))

    @rule(seconds=st.sampled_from([0.1, 3.0, 11.0, 29.0, 31.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def states_agree(self) -> None:
        assert self.breaker.state(self.now) == self.oracle.at(self.now)

    @invariant()
    def nothing_blocks_for_ever(self) -> None:
        assert min(self.breaker.wait_for(self.now + s) for s in (0, 301, 362)) == 0


WithOracle.TestCase.settings = settings(
    max_examples=examples(60), stateful_step_count=50, deadline=None
)
TestWithOracle = WithOracle.TestCase
