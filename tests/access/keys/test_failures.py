"""Failure classes: status, headers and error body of each provider."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aibridge_addon.access.keys.failures import Failure, classify

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def failure(status: int | None, body: Any = None, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
    found = classify(status, named, content, NOW)
    assert found is not None
    return found


def anthropic(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **more}}


def openai(code: str | None, message: str = "", kind: str = "invalid_request_error") -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize("status", [200, 204, 101, 304])
def test_success_is_no_failure(status: int) -> None:
    assert classify(status, {}, b"", NOW) is None


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 415, 422])
def test_other_4xx_are_the_callers_fault(status: int) -> None:
    assert failure(status).kind == "caller"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "99999"}, 3600),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "Sat, 28 Nov 2026 11:00:00 GMT"}, 1),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "17ms"}, 1),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 60),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-28T12:00:20Z",
                "anthropic-ratelimit-requests-remaining": "40",
                "anthropic-ratelimit-requests-reset": "2026-11-28T12:00:50Z",
            },
            20,
        ),
    ],
)
def test_429_with_a_hint_limits_the_key_until_then(headers: dict[str, str], seconds: float) -> None:
    found = classify(429, headers, b"", NOW)
    assert found == Failure(
        kind="rate",
        http_status=429,
        seconds=seconds,
        of_organization=any("ratelimit" in name for name in headers),
    )


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "1e9"])
def test_429_without_a_readable_hint_is_about_the_request(value: str) -> None:
    assert failure(429, retry_after=value).kind == "request_rate"


def test_429_with_room_in_every_limit_is_about_the_request() -> None:
    headers = {"x_ratelimit_remaining_requests": "9", "x_ratelimit_reset_requests": "1s"}
    assert failure(429, **headers).kind == "request_rate"


def test_hint_in_the_body_counts_as_one_in_a_header() -> None:
    assert failure(429, {"error": {"resets_in_seconds": 40}}).seconds == 40
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    gemini = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [retry]}}
    assert failure(429, gemini).seconds == 34
    assert failure(429, json.dumps([gemini]).encode()).seconds == 34


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, None),
        (402, b"Insufficient Balance"),
        (429, openai("insufficient_quota", "You exceeded your current quota")),
        (429, openai(None, "You exceeded your current quota", kind="insufficient_quota")),
        (429, openai("billing_hard_limit_reached")),
        (400, openai("billing_hard_limit_reached")),
        (429, openai("billing_not_active")),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access")),
        (400, anthropic("invalid_request_error", "You have reached your specified API usage li")),
    ],
)
def test_spent_money_is_a_quota_failure(status: int, body: Any) -> None:
    assert failure(status, body, retry_after="3").kind == "quota"


def test_quota_failure_lasts_until_the_time_that_the_provider_states() -> None:
    spent = anthropic(
        "rate_limit_error", "", details={"error_code": "enforced_spend_limit_reached"}
    )
    assert failure(429, spent).seconds == 2.5 * 86400  # 00:00 UTC of the 1st
    message = (
        "You have reached your specified API usage limits. You will regain access on"
        " 2026-11-29 at 00:00 UTC."
    )
    assert failure(400, anthropic("invalid_request_error", message)).seconds == 12 * 3600
    assert failure(402).seconds is None


def test_spend_limit_of_december_lasts_until_january() -> None:
    body = anthropic("rate_limit_error", "", details={"error_code": "enforced_spend_limit_reached"})
    found = classify(429, {}, json.dumps(body).encode(), datetime(2026, 12, 31, tzinfo=UTC))
    assert found is not None
    assert found.seconds == 86400


@pytest.mark.parametrize(
    "message",
    [
        "messages.0.role: Input should be 'user', not 'Your credit balance is too low'",
        'model: "You have reached your specified API usage limits" is not supported',
    ],
)
def test_message_that_repeats_the_request_does_not_take_a_key_out_of_use(message: str) -> None:
    assert failure(400, anthropic("invalid_request_error", message)).kind == "caller"


def test_budget_of_another_proxy_does_not_take_a_key_out_of_use() -> None:
    spent = anthropic("billing_error", "aibridge: budget 'day' is spent: $5.00 of $5.00 for alice.")
    assert failure(400, spent).kind == "caller"


def test_401_is_the_keys_fault_unless_a_header_of_the_client_caused_it() -> None:
    assert failure(401).kind == "credential"
    assert failure(401, openai("invalid_api_key")).kind == "credential"
    assert failure(401, openai("mismatched_organization")).kind == "caller"


@pytest.mark.parametrize("status", [None, 502, 503, 504, 529])
def test_unavailable_provider_is_overloaded(status: int | None) -> None:
    assert failure(status).kind == "overload"


def test_overload_states_when_to_retry() -> None:
    assert failure(503, retry_after="20").seconds == 20


@pytest.mark.parametrize("status", [500, 501, 520, 599])
def test_other_5xx_are_errors(status: int) -> None:
    assert failure(status).kind == "error"


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe", b"[]", b'{"error":7}', b'{"error":null}'])
def test_unreadable_body_counts_as_none(body: bytes) -> None:
    assert failure(429, body, retry_after="3").kind == "rate"
