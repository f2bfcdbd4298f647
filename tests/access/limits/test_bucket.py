"""Token buckets."""

from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.access.limits.bucket import Bucket


def test_full_bucket_admits_its_capacity_at_once_and_then_refills_continuously() -> None:
    bucket = Bucket.full(60, at=0)
    for _ in range(60):
        assert bucket.wait_for(1, now=0) == 0
        bucket.debit(1, now=0)
    assert bucket.wait_for(1, now=0) == 1
    assert bucket.wait_for(1, now=1) == 0


def test_amount_larger_than_the_bucket_waits_for_a_full_one_and_leaves_a_debt() -> None:
    bucket = Bucket.full(60, at=0)
    assert bucket.wait_for(600, now=0) == 0
    bucket.debit(600, now=0)
    assert bucket.wait_for(1, now=0) == 541
    assert bucket.wait_for(600, now=0) == 600


def test_amount_given_back_never_exceeds_the_capacity() -> None:
    bucket = Bucket.full(60, at=0)
    bucket.debit(10, now=0)
    bucket.debit(-1000, now=0)
    bucket.debit(60, now=0)
    assert bucket.wait_for(1, now=0) == 1


def test_clock_that_steps_back_refills_nothing() -> None:
    bucket = Bucket.full(60, at=1000)
    bucket.debit(60, now=1000)
    assert bucket.wait_for(1, now=0) == 1
    bucket.debit(0, now=0)
    assert bucket.wait_for(1, now=1001) == 0


def test_resized_bucket_keeps_what_was_refilled_at_the_earlier_rate() -> None:
    bucket = Bucket.full(60, at=0)
    bucket.debit(60, now=0)
    bucket.resize(6000, now=10)
    assert bucket.wait_for(10, now=10) == 0
    assert bucket.wait_for(11, now=10) > 0
    bucket.resize(5, now=10)
    bucket.resize(60, now=10)
    assert bucket.wait_for(6, now=10) == 1


@given(
    capacity=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=60),
)
def test_no_span_of_time_admits_more_than_capacity_and_refill(
    capacity: int, steps: list[tuple[float, int]]
) -> None:
    bucket = Bucket.full(capacity, at=0)
    now, admitted = 0.0, 0.0
    for seconds, amount in steps:
        now += seconds
        amount = min(amount, capacity)
        if bucket.wait_for(amount, now) == 0:
            bucket.debit(amount, now)
            admitted += amount
        assert admitted <= capacity + now * capacity / 60 + 1e-6
