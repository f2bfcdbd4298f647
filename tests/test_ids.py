"""Tests of the ids of facts."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from aibridge_addon.facts import derived_id, id_of_day, new_id, now

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_derived_id_is_the_same_for_the_same_names_and_sorts_like_its_base() -> None:
    base = new_id()
    assert derived_id(base, "a") == derived_id(base, "a") != derived_id(base, "b")
    assert derived_id(base, "a")[:15] == base[:15]
    assert derived_id(base, "a") != derived_id(new_id(), "a")


def test_id_of_a_day_is_the_same_in_every_process() -> None:
    assert id_of_day("openai", "batch_1") == id_of_day("openai", "batch_1")
    assert id_of_day("openai", "batch_1") < new_id()


@pytest.mark.parametrize("nanoseconds", [0, 999, 1_000, 5_000_000, 999_999_999])
def test_time_is_in_utc_with_six_digits_of_microseconds(
    monkeypatch: pytest.MonkeyPatch, nanoseconds: int
) -> None:
    for seconds in (1_796_000_000, 1_796_000_001, 1_796_000_000):  # a clock may step back
        monkeypatch.setattr(time, "time_ns", lambda: seconds * 1_000_000_000 + nanoseconds)  # noqa: B023
        exact = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
        assert now() == exact.isoformat(timespec="microseconds")
