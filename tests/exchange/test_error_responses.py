"""Refusals in the shape that stops each client."""

import dataclasses
import json
from typing import Any

import pytest
from botocore.parsers import RestJSONParser
from mitmproxy import http

from aibridge_addon.access.asked import Refusal
from aibridge_addon.exchange.budget_refusals import BUDGET_EXCEEDED
from aibridge_addon.exchange.error_responses import refusal_response
from aibridge_addon.formats import FORMATS

SPENT = Refusal(status=400, reason=BUDGET_EXCEEDED, message="aibridge: no.")
DENIED = dataclasses.replace(SPENT, reason="model_not_allowed")
CLAUDE_CODE = http.Headers(user_agent="claude-cli/2.1.332 (external, cli)")
OPENCODE = http.Headers(user_agent="opencode/1.18.33 ai-sdk/provider-utils/4")
SDK = http.Headers(user_agent="Anthropic/Python 0.92.0")
BEDROCK = ("bedrock_invoke", "bedrock_converse")


def refused(api: str, refusal: Refusal, sent: http.Headers) -> Any:
    """Return the document of a refusal."""
    response = refusal_response(FORMATS[api], refusal, sent)
    assert response.status_code == refusal.status
    return json.loads(response.content or b"")


@pytest.mark.parametrize("refusal", [SPENT, DENIED])
def test_final_refusal_is_the_error_at_which_claude_code_stops(refusal: Refusal) -> None:
    error = {"type": "billing_error", "message": "aibridge: no."}
    document = refused("anthropic_messages", refusal, CLAUDE_CODE)
    assert document == {"type": "error", "error": error}
    for api in BEDROCK:
        document = refused(api, refusal, CLAUDE_CODE)
        assert document["error"] == error
        answer = {"status_code": 400, "headers": {}, "body": json.dumps(document).encode()}
        read = RestJSONParser().parse(answer, None)["Error"]
        assert read == {"Message": "aibridge: no.", "Code": "ValidationException"}


@pytest.mark.parametrize(
    ("refusal", "sent"),
    [
        (SPENT, SDK),
        # A proxy before this one would set a key aside for it, unless it knows whose it is.
        (dataclasses.replace(SPENT, message="dlp: no."), CLAUDE_CODE),
    ],
)
def test_other_refusals_are_invalid_requests(refusal: Refusal, sent: http.Headers) -> None:
    document = refused("anthropic_messages", refusal, sent)
    assert document["error"] == {"type": "invalid_request_error", "message": refusal.message}
    assert refused("bedrock_invoke", refusal, sent).keys() == {"__type", "message"}


def test_refusal_that_a_retry_may_change_keeps_its_type() -> None:
    limited = dataclasses.replace(SPENT, status=429, retry_after=2.0)
    document = refused("anthropic_messages", limited, CLAUDE_CODE)
    assert document["error"]["type"] == "rate_limit_error"
    soon = dataclasses.replace(SPENT, retry_after=2.0)
    assert refused("anthropic_messages", soon, CLAUDE_CODE)["error"]["type"] != "billing_error"


@pytest.mark.parametrize(
    ("sent", "milliseconds"), [(OPENCODE, "1"), (CLAUDE_CODE, None), (SDK, None)]
)
def test_only_opencode_is_told_to_repeat_a_final_refusal_without_a_pause(
    sent: http.Headers, milliseconds: str | None
) -> None:
    for refusal in (SPENT, dataclasses.replace(SPENT, status=503)):
        headers = refusal_response(FORMATS["openai_chat"], refusal, sent).headers
        assert headers["x-should-retry"] == "false"
        assert headers.get("retry-after-ms") == milliseconds
    soon = dataclasses.replace(SPENT, status=429, retry_after=2.0)
    headers = refusal_response(FORMATS["openai_chat"], soon, sent).headers
    assert headers["retry-after-ms"] == "2000"
