"""Shared limits of two processes on one database, against an oracle; processes may be killed."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from databases import PostgresDatabase
from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aibridge_addon.access.limits.book import Lack, LimitChange
from aibridge_addon.facts import new_id
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.limit_counts import LEASE_SECONDS, LimitCounts

START = 1_790_000_000.0


class Clock:
    """The clock of the database."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def location(postgres_server: str) -> str:
    return PostgresDatabase(postgres_server).location


def rate(most: int, amount: float = 1, *, scope: str = "total", name: str = "rate") -> LimitChange:
    return LimitChange(limit=name, scope=scope, bound="requests", most=most, amount=amount)


def slot(most: int, amount: int = 1, *, scope: str = "total", name: str = "slots") -> LimitChange:
    return LimitChange(limit=name, scope=scope, bound="open_requests", most=most, amount=amount)


def give_back(changes: list[LimitChange]) -> list[LimitChange]:
    return [dataclasses.replace(change, amount=-change.amount) for change in changes]


class Oracle:
    """Exact room of one rate and of open requests; a clock that steps back refills nothing."""

    def __init__(self, rate: int, most: int) -> None:
        self.rate = rate
        self.most = most
        self._level = float(rate)
        self._at = START

    def level(self, now: float) -> float:
        return min(self.rate, self._level + max(0.0, now - self._at) * self.rate / 60)

    def debit(self, amount: float, now: float) -> None:
        self._level = min(self.rate, self.level(now) - amount)
        self._at = now


class Processes(RuleBasedStateMachine):
    """Two processes, one rate with tokens, and slots."""

    location = ""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.scope = new_id()
        self.processes = [self.process() for _ in range(2)]
        self.open: dict[str, tuple[int, list[LimitChange]]] = {}
        """Processes and changes of the requests that run."""
        self.dead: dict[str, float] = {}
        """Ends of the leases of requests of killed processes."""
        self.renewed = [START, START]

    def process(self) -> LimitCounts:
        return LimitCounts(Address(self.location), new_id(), self.clock)

    def teardown(self) -> None:
        for process in self.processes:
            process.close()

    @initialize(rate=st.integers(1, 90), most=st.integers(1, 4))
    def configure(self, rate: int, most: int) -> None:
        self.oracle = Oracle(rate=rate, most=most)

    @rule(number=st.integers(0, 1), amount=st.integers(1, 100))
    def take(self, number: int, amount: int) -> None:
        oracle = self.oracle
        changes = [
            slot(oracle.most, scope=self.scope),
            rate(oracle.rate, amount, scope=self.scope),
        ]
        id_ = new_id()
        lack = self.processes[number].take(id_, changes)
        missing = min(amount, oracle.rate) - oracle.level(self.clock.now)
        if self.running() >= oracle.most:
            assert lack == Lack(index=0, seconds=None)
        elif missing > 1e-3:
            assert lack
            assert lack.index == 1
            assert lack.seconds == pytest.approx(missing * 60 / oracle.rate, abs=1e-3)
        elif lack is None:
            oracle.debit(amount, self.clock.now)
            self.open[id_] = number, changes
        else:
            assert missing > -1e-3

    def running(self) -> int:
        """Return the number of slots: a lease far in the future is of before a step back."""
        now = self.clock.now
        leased = [end for end in self.dead.values() if now < end <= now + 2 * LEASE_SECONDS]
        return len(self.open) + len(leased)

    @precondition(lambda self: self.open)
    @rule(choice=st.integers(0, 9), used=st.integers(0, 150), is_cancelled=st.booleans())
    def end(self, choice: int, used: int, *, is_cancelled: bool) -> None:
        id_ = sorted(self.open)[choice % len(self.open)]
        number, changes = self.open.pop(id_)
        taken = changes[1].amount
        excess = -taken if is_cancelled else used - taken
        freed = [dataclasses.replace(changes[0], amount=-1)]
        self.processes[number].change(id_, [*freed, dataclasses.replace(changes[1], amount=excess)])
        self.oracle.debit(excess, self.clock.now)

    @rule(seconds=st.floats(0, LEASE_SECONDS / 4))
    def wait(self, seconds: float) -> None:
        """Let time pass; processes that live renew their leases in time."""
        self.clock.now += seconds
        for number, process in enumerate(self.processes):
            process.renew()
            self.renewed[number] = self.clock.now

    @rule(seconds=st.floats(0, LEASE_SECONDS / 2))
    def step_back(self, seconds: float) -> None:
        """Step the clock back: nothing is refilled, and no lease ends early."""
        self.clock.now -= seconds
        self.wait(0)

    @rule(number=st.integers(0, 1))
    def kill(self, number: int) -> None:
        self.processes[number].close()
        for id_, (owner, _) in list(self.open.items()):
            if owner == number:
                del self.open[id_]
                self.dead[id_] = self.renewed[number] + LEASE_SECONDS
        self.processes[number] = self.process()

    @invariant()
    def no_more_slots_than_allowed(self) -> None:
        assert len(self.open) <= self.oracle.most


def test_two_processes_admit_exactly_what_a_limit_allows(location: str) -> None:
    machine = type("Machine", (Processes,), {"location": location})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(15),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def make(location: str) -> Iterator[Callable[[], LimitCounts]]:
    """Return a function that returns the counts of another process, with the same clock."""
    clock = Clock()
    made: list[LimitCounts] = []

    def one() -> LimitCounts:
        made.append(LimitCounts(Address(location), new_id(), clock))
        return made[-1]

    yield one
    for each in made:
        each.close()


def test_refused_request_consumes_nothing_in_any_limit(make: Callable[[], LimitCounts]) -> None:
    counts, scope = make(), new_id()
    few, many = rate(1, scope=scope, name="few"), rate(2, scope=scope, name="many")
    assert counts.take("1", [many, few]) is None
    assert counts.take("2", [many, few]) == Lack(index=1, seconds=60.0)
    assert counts.take("3", [many]) is None
    assert counts.take("4", [many]) == Lack(index=0, seconds=30.0)


def test_slots_are_looked_at_before_rates(make: Callable[[], LimitCounts]) -> None:
    counts, scope = make(), new_id()
    changes = [rate(1, scope=scope), slot(1, scope=scope)]
    assert counts.take("1", changes) is None
    assert counts.take("2", changes) == Lack(index=1, seconds=None)


def test_slot_that_the_database_lost_is_renewed_and_ended_ones_are_freed(
    make: Callable[[], LimitCounts], location: str
) -> None:
    one, two, scope = make(), make(), new_id()
    changes = [slot(1, scope=scope)]
    assert one.take("1", changes) is None
    PostgresDatabase.at(location).execute("DELETE FROM aibridge_limit_slots")
    one.renew()
    assert two.take("2", changes)
    one._slots.clear()  # the database was away as the request ended
    one.renew()
    assert two.take("2", changes) is None


@pytest.mark.parametrize("scope", ["a\0b", "\ud800", "x" * 10_000, "' \" \\ ⁦"])
def test_any_name_of_an_actor_is_counted(make: Callable[[], LimitCounts], scope: str) -> None:
    one, two = make(), make()
    changes = [slot(1, scope=scope + new_id()), rate(1, scope=scope + new_id())]
    assert one.take("1", changes) is None
    assert two.take("2", changes)
    one.change("1", give_back(changes))
    assert two.take("2", changes) is None


def test_broken_connection_is_opened_again(make: Callable[[], LimitCounts], location: str) -> None:
    counts, scope = make(), new_id()
    assert counts.take("1", [rate(1, scope=scope)]) is None
    PostgresDatabase.at(location).execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'aibridge limits'"
    )
    assert counts.take("2", [rate(1, scope=scope)])


def test_database_that_is_away_raises_without_its_password() -> None:
    counts = LimitCounts(Address("postgresql://me:s3cret@127.0.0.1:1/none"), "p")
    with pytest.raises(StoreError) as raised:
        counts.take("1", [rate(1)])
    assert "s3cret" not in str(raised.value)


def test_database_counts_by_its_own_clock(location: str) -> None:
    with closing(LimitCounts(Address(location), new_id())) as counts:
        scope = new_id()
        assert counts.take("1", [rate(1, scope=scope)]) is None
        lack = counts.take("2", [rate(1, scope=scope)])
        assert lack
        assert lack.seconds
        assert 0 < lack.seconds <= 60
