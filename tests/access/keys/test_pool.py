"""Key pools: choice by conversation, cool-downs, set-asides, and their ends."""

import random
from collections import Counter

import pytest
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aibridge_addon.access.keys.affinity import Affinity
from aibridge_addon.access.keys.failures import Failure, FailureKind
from aibridge_addon.access.keys.pool import KeyPool
from aibridge_addon.providers.central_keys import CentralKey, model_class

A = CentralKey(env="A", organization="eu")
B = CentralKey(env="B", organization="eu")
C = CentralKey(env="C")
KEYS = (A, B, C)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def pool(clock: Clock, changes: list[tuple[str, str]]) -> KeyPool:
    return KeyPool(
        KEYS, clock=clock, on_change=lambda key, change, reason: changes.append((key.env, change))
    )


def talk(name: str, *, bound: bool = False, idle: float = 300.0) -> Affinity:
    return Affinity(id=name, is_bound=bound, idle_seconds=idle)


def at_home(pool: KeyPool, key: CentralKey) -> Affinity:
    """A conversation whose first key is this one."""
    names = (talk(str(number)) for number in range(1000))
    return next(found for found in names if pool.home(found) == key)


def failed(kind: FailureKind, seconds: float | None = None, *, of_all: bool = False) -> Failure:
    return Failure(kind=kind, http_status=429, seconds=seconds, of_organization=of_all)


def test_conversation_stays_at_its_key_while_the_key_is_usable(pool: KeyPool, clock: Clock) -> None:
    """Measure the affinity: the share of each conversation's requests at its most used key."""
    randomly = random.Random(11)
    used: dict[str, Counter[str]] = {}
    for _ in range(20_000):
        name = str(randomly.randrange(300))
        chosen = pool.choose(talk(name), "m")
        assert chosen is not None
        used.setdefault(name, Counter())[chosen.env] += 1
        clock.now += randomly.expovariate(0.1)
    shares = [max(counts.values()) / counts.total() for counts in used.values()]
    assert min(shares) >= 0.99


def test_conversations_are_distributed_by_weight(clock: Clock) -> None:
    keys = (CentralKey(env="heavy", weight=3), CentralKey(env="light"))
    pool = KeyPool(keys, clock=clock)
    homes = Counter(
        key.env for number in range(4000) if (key := pool.home(talk(str(number)))) is not None
    )
    assert 0.72 < homes["heavy"] / 4000 < 0.78


def test_added_key_moves_only_the_conversations_that_it_gets(clock: Clock) -> None:
    before, after = KeyPool((A, C), clock=clock), KeyPool(KEYS, clock=clock)
    for number in range(500):
        moved = after.home(talk(str(number)))
        assert moved in (before.home(talk(str(number))), B)


def test_every_process_chooses_the_same_key(clock: Clock) -> None:
    one, other = KeyPool(KEYS, clock=clock), KeyPool(KEYS[::-1], clock=clock)
    for number in range(200):
        assert one.home(talk(str(number))) == other.home(talk(str(number)))


def test_limited_key_is_skipped_for_its_model_only(pool: KeyPool, clock: Clock) -> None:
    asked = at_home(pool, C)
    pool.report(C, failed("rate", 20), "opus")
    assert pool.choose(asked, "opus") != C
    assert pool.choose(talk("x"), "opus") != C
    assert pool.choose(at_home(pool, C), "haiku") == C
    clock.now += 20
    assert pool.choose(at_home(pool, C), "opus") == C


def test_failed_over_conversation_stays_until_it_is_idle(pool: KeyPool, clock: Clock) -> None:
    asked = at_home(pool, C)
    pool.report(C, failed("rate", 1), "m")
    other = pool.choose(asked, "m")
    assert other not in (C, None)
    for _ in range(100):  # well beyond the cache's lifetime, never idle
        clock.now += 299
        assert pool.choose(asked, "m") == other
    clock.now += 300
    assert pool.choose(asked, "m") == C


def test_longer_cache_lifetime_prolongs_the_stay(pool: KeyPool, clock: Clock) -> None:
    asked = Affinity(id=at_home(pool, C).id, idle_seconds=3600)
    pool.report(C, failed("rate", 1), "m")
    other = pool.choose(asked, "m")
    clock.now += 3599
    assert pool.choose(asked, "m") == other
    clock.now += 3600
    assert pool.choose(asked, "m") == C


def test_limit_of_an_organization_cools_all_its_keys(pool: KeyPool) -> None:
    pool.report(A, failed("rate", 20, of_all=True), "m")
    assert pool.choose(talk("x"), "m") == C
    assert pool.choose(talk("x", bound=False), "other") is not None


def test_limit_of_a_key_leaves_the_others_of_its_organization(pool: KeyPool) -> None:
    pool.report(A, failed("rate", 20), "m")
    assert pool.find(at_home(pool, A), "m", tried=[C]) == B


def test_state_bound_request_never_leaves_its_organization(pool: KeyPool) -> None:
    home_a = Affinity(id=at_home(pool, A).id, is_bound=True)
    pool.report(A, failed("rate", 20), "m")
    assert pool.choose(home_a, "m") == B
    pool.report(B, failed("rate", 20), "m")
    assert pool.choose(home_a, "m") is None
    home_c = Affinity(id=at_home(pool, C).id, is_bound=True)
    assert pool.find(home_c, "m", tried=[C]) is None


def test_stored_response_leads_back_to_its_key(pool: KeyPool) -> None:
    pool.responses.note("resp_1", "C")
    asked = Affinity(id=at_home(pool, A).id, is_bound=True, previous_response_id="resp_1")
    assert pool.choose(asked, "m") == C


def test_refused_key_comes_back_by_a_check_and_not_by_time(
    pool: KeyPool, clock: Clock, changes: list[tuple[str, str]]
) -> None:
    pool.report(C, failed("credential"), "m")
    assert changes == [("C", "set_aside")]
    clock.now += 59
    assert pool.due_checks() == []
    clock.now += 1
    assert pool.due_checks() == [C]
    assert pool.due_checks() == []
    assert pool.choose(at_home(pool, C), "m") != C
    pool.checked(C, is_valid=True)
    assert pool.choose(at_home(pool, C), "m") == C
    assert changes[-1] == ("C", "back")


def test_time_between_checks_doubles_up_to_15_minutes(pool: KeyPool, clock: Clock) -> None:
    pool.report(C, failed("credential"), "m")
    waits = []
    for _ in range(7):
        row = pool.rows()[2]
        assert row.next_seconds is not None
        waits.append(row.next_seconds)
        clock.now += row.next_seconds
        assert pool.due_checks() == [C]
        pool.checked(C, is_valid=False)
    assert waits == [60, 120, 240, 480, 900, 900, 900]


def test_check_without_an_answer_is_repeated_and_never_lost(pool: KeyPool, clock: Clock) -> None:
    pool.report(C, failed("credential"), "m")
    for _ in range(5):
        clock.now += 60
        assert pool.due_checks() == [C]  # the last one never reported
    pool.checked(C, is_valid=None)
    clock.now += 60
    assert pool.due_checks() == [C]


def test_key_refused_again_after_its_check_is_set_aside_longer_and_silently(
    pool: KeyPool, clock: Clock, changes: list[tuple[str, str]]
) -> None:
    pool.report(C, failed("credential"), "m")
    clock.now += 60
    pool.due_checks()
    pool.checked(C, is_valid=True)
    pool.report(C, failed("credential"), "m")
    assert pool.rows()[2].next_seconds == 120
    assert changes.count(("C", "set_aside")) == 1


def test_spent_key_is_set_aside_for_15_minutes_doubling_to_6_hours(
    pool: KeyPool, clock: Clock
) -> None:
    waits = []
    for _ in range(7):
        pool.report(C, failed("quota"), "m")
        wait = pool.rows()[2].next_seconds
        assert wait is not None
        waits.append(wait / 60)
        clock.now += wait
        assert pool.choose(at_home(pool, C), "m") == C  # it may be used again without a check
    assert waits == [15, 30, 60, 120, 240, 360, 360]


def test_stated_time_of_a_quota_counts(pool: KeyPool, clock: Clock) -> None:
    pool.report(C, failed("quota", 86_400), "m")
    clock.now += 86_399
    assert pool.rows()[2].state == "set aside"
    clock.now += 1
    assert pool.rows()[2].state == "ok"


def test_success_ends_the_doubling(pool: KeyPool, clock: Clock) -> None:
    pool.report(C, failed("quota"), "m")
    clock.now += 900
    pool.report(C, None, "m")
    pool.report(C, failed("quota"), "m")
    assert pool.rows()[2].next_seconds == 900


@pytest.mark.parametrize("kind", ["caller", "request_rate", "overload", "error"])
def test_failure_that_is_not_the_keys_leaves_it_alone(pool: KeyPool, kind: FailureKind) -> None:
    pool.report(C, failed(kind, 30), "m")
    assert [row.state for row in pool.rows()] == ["ok"] * 3


def test_wait_is_the_shortest_cool_down_and_none_if_all_are_set_aside(pool: KeyPool) -> None:
    for key, seconds in zip(KEYS, (30, 10, 20), strict=True):
        pool.report(key, failed("rate", seconds), "m")
    assert pool.choose(talk("x"), "m") is None
    assert pool.wait_for("m") == 10
    pool.report(B, failed("credential"), "m")
    assert pool.wait_for("m") == 20
    pool.report(A, failed("credential"), "m")
    pool.report(C, failed("quota"), "m")
    assert pool.wait_for("m") is None


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-opus-4-1-20250805", "claude-opus-4"),
        ("claude-opus-4-5", "claude-opus-4"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("GPT-5-mini", "gpt-5-mini"),
        (None, ""),
    ],
)
def test_model_class_joins_models_that_share_a_limit(model: str | None, name: str) -> None:
    assert model_class(model) == name


MODELS = st.sampled_from(["opus", "haiku"])


class PoolMachine(RuleBasedStateMachine):
    """Compare the pool with an oracle: a key is usable from a time on, or after a check."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.pool = KeyPool(KEYS, clock=self.clock)
        self.cool: dict[tuple[str, str], float] = {}
        self.aside: dict[str, tuple[str, float]] = {}

    def usable(self, key: CentralKey, model: str) -> bool:
        kind, until = self.aside.get(key.env, ("", 0.0))
        is_out = kind == "credential" or (kind == "quota" and self.clock.now < until)
        return not is_out and self.clock.now >= self.cool.get((key.env, model), 0.0)

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0, 400.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(key=st.sampled_from(KEYS), model=MODELS, seconds=st.floats(1, 3600), of_all=st.booleans())
    def limited(self, key: CentralKey, model: str, seconds: float, of_all: bool) -> None:
        self.pool.report(key, failed("rate", seconds, of_all=of_all), model)
        for other in KEYS:
            if other == key or (of_all and {other, key} == {A, B}):
                until = max(self.cool.get((other.env, model), 0.0), self.clock.now + seconds)
                self.cool[other.env, model] = until

    @rule(key=st.sampled_from(KEYS), seconds=st.floats(1, 90_000))
    def spent(self, key: CentralKey, seconds: float) -> None:
        self.set_aside(key, "quota", seconds)

    @rule(key=st.sampled_from(KEYS))
    def refused(self, key: CentralKey) -> None:
        self.set_aside(key, "credential", None)

    def set_aside(self, key: CentralKey, kind: FailureKind, seconds: float | None) -> None:
        known, until = self.aside.get(key.env, ("", 0.0))
        if known != "credential" and not (known == "quota" and self.clock.now < until):
            self.aside[key.env] = (kind, self.clock.now + (seconds or 0.0))
        self.pool.report(key, failed(kind, seconds), "opus")

    @rule(answer=st.sampled_from([True, False, None]))
    def checks_end(self, answer: bool | None) -> None:
        for key in self.pool.due_checks():
            assert self.aside[key.env][0] == "credential"
            self.pool.checked(key, is_valid=answer)
            if answer:
                del self.aside[key.env]

    @rule()
    def long_time_with_valid_keys(self) -> None:
        """Nothing stays out until a restart: within a check's time, valid keys are back."""
        self.clock.now += 900.0 + 60.0
        for key in self.pool.due_checks():
            self.pool.checked(key, is_valid=True)
            self.aside.pop(key.env)
        assert not any(kind == "credential" for kind, _ in self.aside.values())

    @rule(name=st.integers(0, 5), model=MODELS, bound=st.booleans())
    def chosen(self, name: int, model: str, bound: bool) -> None:
        asked = talk(str(name), bound=bound)
        home = self.pool.home(asked)
        assert home is not None
        allowed = [
            key
            for key in KEYS
            if self.usable(key, model) and (not bound or key.shares_organization(home))
        ]
        found = self.pool.choose(asked, model)
        assert (found in allowed) if allowed else found is None
        if home in allowed:
            assert found == home

    @invariant()
    def rows_agree(self) -> None:
        for row in self.pool.rows():
            usable = [self.usable(row.key, model) for model in ("opus", "haiku")]
            assert (row.state == "ok") == all(usable)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None
)
