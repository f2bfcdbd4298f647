"""GitHub's account and model listing, as Copilot CLI asks for them with a token of GitHub.

Imitates what Copilot CLI 1.0 accepts; the calls themselves are OpenAI's and Anthropic's.
"""

from collections.abc import Mapping
from typing import Any

from standin.asked import Asked
from standin.messages import Response

_USER = {
    "login": "alice",
    "copilot_plan": "individual_pro",
    "access_type_sku": "plus_monthly_subscriber_quota",
    "chat_enabled": True,
    "cli_enabled": True,
    "organization_list": [],
    "endpoints": {"api": "https://api.individual.githubcopilot.com"},
}
_ENDPOINTS = {
    "claude-sonnet-5": "/v1/messages",
    "claude-haiku-4.5": "/chat/completions",
    "gpt-5.6-sol": "/responses",
}
"""Models that the program knows, each with the route that it is offered at."""


def _model(name: str, endpoint: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "object": "model",
        "vendor": "Anthropic" if name.startswith("claude") else "OpenAI",
        "version": name,
        "preview": False,
        "model_picker_enabled": True,
        "supported_endpoints": [endpoint],
        "policy": {"state": "enabled"},
        "capabilities": {
            "family": name,
            "type": "chat",
            "object": "model_capabilities",
            "tokenizer": "o200k_base",
            "limits": {"max_context_window_tokens": 200_000, "max_output_tokens": 64_000},
            "supports": {"streaming": True, "tool_calls": True},
        },
    }


_ANSWERS: Mapping[str, Any] = {
    "/copilot_internal/user": _USER,
    "/models": {"object": "list", "data": [_model(*item) for item in _ENDPOINTS.items()]},
}


def answer(asked: Asked) -> Response | None:
    """Answer a route of the account or the listing; None on any other path."""
    found = _ANSWERS.get(asked.path)
    return None if found is None else asked.json(found)
