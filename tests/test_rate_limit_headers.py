"""Rate limits: which headers are selected, and how they are read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.rate_limits import Limit, read_limits, select
from aibridge_addon.reset_times import read_reset


def fields(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("utf-8")) for name, value in headers]


SEEN = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def limits(headers: dict[str, str]) -> dict[str, Limit]:
    found = read_limits({name: (value, SEEN) for name, value in headers.items()})
    return {limit.name: limit for limit in found}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-28T12:05:00Z", timedelta(minutes=5)),
        ("2026-11-28T13:05:00+01:00", timedelta(minutes=5)),
        (str(int(SEEN.timestamp()) + 90), timedelta(seconds=90)),
        (str(int(SEEN.timestamp() * 1000) + 90_000), timedelta(seconds=90)),
        ("6m0s", timedelta(minutes=6)),
        ("17ms", timedelta(milliseconds=17)),
        ("1h2m3.5s", timedelta(hours=1, minutes=2, seconds=3.5)),
        ("250µs", timedelta(microseconds=250)),
        ("1d", timedelta(days=1)),
        ("59.5", timedelta(seconds=59.5)),
        ("0", timedelta()),
        ("Sat, 28 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
    ],
)
def test_reset_is_read_in_every_notation(value: str, expected: timedelta) -> None:
    assert read_reset(value, SEEN) == SEEN + expected


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "nan", "inf", "1e400", "6x", "9" * 400, "2026-11-28T12:05:00", "m", "٣s"],
)
def test_garbage_is_no_reset(value: str) -> None:
    assert read_reset(value, SEEN) is None


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_text_makes_the_reader_of_limits_raise(value: str) -> None:
    headers = select(fields(("x-ratelimit-reset-tokens", value), ("retry-after", value)))
    for limit in limits(headers).values():
        assert limit.resets_at is not None


def test_only_headers_about_rate_limits_are_selected() -> None:
    wanted = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-unified-5h-utilization": "0.42",
        "anthropic-priority-input-tokens-remaining": "9",
        "x-ratelimit-remaining-tokens": "1",
        "retry-after": "3",
        "retry-after-ms": "3000",
        "x-codex-primary-used-percent": "12",
        "x-codex-credits-balance": "5",
    }
    others = {
        "content-type": "text/plain",
        "set-cookie": "a=b",
        "x-request-id": "r",
        "x-codex-turn-state": "opaque",
        "anthropic-organization-id": "o",
    }
    assert select(fields(*others.items(), *wanted.items())) == wanted


def test_header_names_are_selected_in_lower_case() -> None:
    assert select(fields(("X-RateLimit-Limit", "1"), ("Retry-After", "2"))) == {
        "x-ratelimit-limit": "1",
        "retry-after": "2",
    }


def test_hostile_headers_are_bounded() -> None:
    many = [(f"x-ratelimit-limit-{number}", "1") for number in range(1000)]
    assert len(select(fields(*many))) == 64
    hostile = fields(("retry-after", "9" * 201), ("x-ratelimit-limit", "a\x1b[31m"))
    assert select(hostile) == {}


def test_windows_of_an_anthropic_subscription_are_read() -> None:
    reset = str(int(SEEN.timestamp()) + 3600)
    found = limits(
        {
            "anthropic-ratelimit-unified-status": "allowed",
            "anthropic-ratelimit-unified-reset": reset,
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "anthropic-ratelimit-unified-5h-utilization": "0.42",
            "anthropic-ratelimit-unified-5h-status": "allowed_warning",
            "anthropic-ratelimit-unified-5h-reset": reset,
            "anthropic-ratelimit-unified-7d-utilization": "1.02",
            "anthropic-ratelimit-unified-7d_opus-utilization": "0",
        }
    )
    hour = SEEN + timedelta(hours=1)
    assert found["5h"] == Limit(
        name="5h", seen_at=SEEN, used=0.42, status="allowed_warning", resets_at=hour
    )
    assert found["7d"].used == 1.02
    assert found["7d_opus"].used == 0
    assert found["all windows"] == Limit(
        name="all windows", seen_at=SEEN, status="allowed", resets_at=hour
    )
    assert [name for name, limit in found.items() if limit.is_window] == ["5h", "7d", "7d_opus"]


def test_windows_come_first() -> None:
    found = limits({"retry-after": "1", "anthropic-ratelimit-unified-7d-utilization": "0.5"})
    assert list(found) == ["7d", "retry-after"]


def test_account_with_overage_states_only_resets() -> None:
    found = limits(
        {
            "anthropic-ratelimit-unified-reset": "2026-11-28T13:00:00Z",
            "anthropic-ratelimit-unified-overage-reset": "2026-12-01T00:00:00Z",
        }
    )
    assert {name: limit.used for name, limit in found.items()} == {
        "all windows": None,
        "overage": None,
    }
    assert found["overage"].resets_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_used_fraction_is_computed_of_limit_and_remaining() -> None:
    found = limits(
        {
            "anthropic-ratelimit-input-tokens-limit": "200",
            "anthropic-ratelimit-input-tokens-remaining": "150",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-28T12:00:30Z",
            "anthropic-priority-output-tokens-limit": "10",
            "anthropic-priority-output-tokens-remaining": "0",
            "x-ratelimit-limit-requests": "0",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "17ms",
            "x-ratelimit-remaining-tokens": "5",
        }
    )
    assert found["input-tokens"].used == 0.25
    assert found["priority-output-tokens"].used == 1
    assert found["requests"].used is None
    assert found["tokens"] == Limit(name="tokens", seen_at=SEEN, remaining=5)


def test_windows_of_codex_are_named_by_their_duration() -> None:
    found = limits(
        {
            "x-codex-primary-used-percent": "12.5",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-after-seconds": "600",
            "x-codex-secondary-used-percent": "80",
            "x-codex-secondary-window-minutes": "10080",
            "x-codex-spark-primary-used-percent": "1",
            "x-codex-spark-primary-window-minutes": "300",
            "x-codex-credits-balance": "",
        }
    )
    assert found["5h"].used == 0.125
    assert found["5h"].resets_at == SEEN + timedelta(minutes=10)
    assert found["7d"].used == 0.8
    assert found["spark 5h"].used == 0.01


def test_codex_window_without_a_duration_keeps_its_name() -> None:
    assert limits({"x-codex-primary-used-percent": "12"})["primary"].used == 0.12


def test_retry_after_is_a_reset() -> None:
    assert limits({"retry-after": "30"})["retry-after"].resets_at == SEEN + timedelta(seconds=30)
    found = limits({"retry-after-ms": "1500"})["retry-after"]
    assert found.resets_at == SEEN + timedelta(seconds=1.5)


@pytest.mark.parametrize("value", ["", "no", "-1", "nan", "4200"])
def test_unreadable_utilization_is_ignored(value: str) -> None:
    assert limits({"anthropic-ratelimit-unified-5h-utilization": value}) == {}
