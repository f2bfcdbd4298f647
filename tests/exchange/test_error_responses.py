"""Refusals in the shape that stops each client."""

import json
from typing import Any

import pytest
from botocore.parsers import RestJSONParser
from mitmproxy import http

from aibridge_addon.access.asked import Refusal
from aibridge_addon.exchange.budget_refusals import BUDGET_EXCEEDED
from aibridge_addon.exchange.error_responses import refusal_response
from aibridge_addon.formats import FORMATS

SPENT = Refusal(status=400, reason=BUDGET_EXCEEDED, message="No.")
CLAUDE_CODE = http.Headers(user_agent="claude-cli/2.1.332 (external, cli)")
SDK = http.Headers(user_agent="Anthropic/Python 0.92.0")
BEDROCK = ("bedrock_invoke", "bedrock_converse")


def refused(api: str, refusal: Refusal, sent: http.Headers) -> Any:
    """Return the document of a refusal."""
    response = refusal_response(FORMATS[api], refusal, sent)
    assert response.status_code == refusal.status
    return json.loads(response.content or b"")


def test_spent_budget_is_the_error_at_which_claude_code_stops() -> None:
    error = {"type": "billing_error", "message": "No."}
    document = refused("anthropic_messages", SPENT, CLAUDE_CODE)
    assert document == {"type": "error", "error": error}
    for api in BEDROCK:
        document = refused(api, SPENT, CLAUDE_CODE)
        assert document["error"] == error
        answer = {"status_code": 400, "headers": {}, "body": json.dumps(document).encode()}
        read = RestJSONParser().parse(answer, None)["Error"]
        assert read == {"Message": "No.", "Code": "ValidationException"}


@pytest.mark.parametrize(
    ("refusal", "sent"),
    [(SPENT, SDK), (Refusal(status=400, reason="model_denied", message="No."), CLAUDE_CODE)],
)
def test_other_refusals_are_invalid_requests(refusal: Refusal, sent: http.Headers) -> None:
    document = refused("anthropic_messages", refusal, sent)
    assert document["error"] == {"type": "invalid_request_error", "message": "No."}
    assert refused("bedrock_invoke", refusal, sent).keys() == {"__type", "message"}
