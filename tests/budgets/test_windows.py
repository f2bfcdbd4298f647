"""Windows of budgets: zones, clock changes, starts of days, and rolling windows."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.budgets.windows import WindowRule, as_text

BERLIN = ZoneInfo("Europe/Berlin")


def rule(name: Any, *, zone: str = "Europe/Berlin", **values: Any) -> WindowRule:
    return WindowRule(name=name, zone=ZoneInfo(zone), **values)


def local(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def span(rule: WindowRule, moment: datetime) -> tuple[datetime, datetime | None]:
    window = rule.at(moment)
    assert window.bucket == window.first_bucket
    return datetime.fromisoformat(window.bucket), window.ends_at


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-28", 24)]
)
def test_day_has_the_hours_of_its_zone(day: str, hours: int) -> None:
    start, end = span(rule("day"), local(f"{day}T12:00"))
    assert start == local(f"{day}T00:00")
    assert end
    assert end - start == timedelta(hours=hours)


def test_window_is_half_open() -> None:
    midnight = local("2026-11-28T00:00")
    assert span(rule("day"), midnight)[0] == midnight
    before = midnight - timedelta(microseconds=1)
    assert span(rule("day"), before) == (local("2026-11-27T00:00"), midnight)


def test_day_that_starts_at_eight_lasts_until_eight() -> None:
    start, end = span(rule("day", starts_at=time(8)), local("2026-11-28T07:59"))
    assert (start, end) == (local("2026-11-27T08:00"), local("2026-11-28T08:00"))


def test_week_starts_on_monday_and_month_on_the_first() -> None:
    saturday = local("2026-11-28T12:00")
    assert span(rule("week"), saturday) == (local("2026-11-23T00:00"), local("2026-11-30T00:00"))
    assert span(rule("month"), saturday) == (local("2026-11-01T00:00"), local("2026-12-01T00:00"))
    last = local("2026-12-31T23:59")
    assert span(rule("month"), last) == (local("2026-12-01T00:00"), local("2027-01-01T00:00"))


def test_day_of_another_zone_starts_at_another_instant() -> None:
    moment = local("2026-11-28T00:30")
    assert span(rule("day", zone="UTC"), moment)[0] == datetime(2026, 11, 27, tzinfo=UTC)
    assert span(rule("day"), moment)[0] == datetime(2026, 11, 27, 23, tzinfo=UTC)


def test_total_has_neither_start_nor_end() -> None:
    window = rule("total").at(datetime.now(UTC))
    assert (window.bucket, window.first_bucket, window.ends_at) == ("", "", None)


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1)))
def test_rolling_window_counts_a_charge_for_its_length_and_at_most_one_step_longer(
    naive: datetime,
) -> None:
    moment = naive.replace(tzinfo=UTC)
    rolling = rule("5h", is_rolling=True)
    charged = rolling.at(moment)
    step = timedelta(minutes=5)
    inside = rolling.at(moment + timedelta(hours=5))
    assert charged.bucket >= inside.first_bucket
    assert charged.expires_after
    opens = datetime.fromisoformat(charged.bucket) + charged.expires_after
    assert opens <= moment + timedelta(hours=5) + step
    assert charged.bucket < rolling.at(opens).first_bucket


@given(
    st.sampled_from(["hour", "5h", "day", "week", "month"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "UTC"]),
    st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1)),
    st.times(),
)
def test_windows_follow_each_other_without_gap_or_overlap(
    name: Any, zone: str, naive: datetime, starts_at: time
) -> None:
    starts_at = starts_at.replace(second=0, microsecond=0, tzinfo=None)
    given_rule = rule(name, zone=zone, starts_at=starts_at)
    moment = naive.replace(tzinfo=UTC)
    start, end = span(given_rule, moment)
    assert end
    assert start <= moment < end
    assert span(given_rule, end)[0] == end
    assert span(given_rule, end - timedelta(microseconds=1)) == (start, end)
    assert as_text(start) == given_rule.at(moment).bucket
