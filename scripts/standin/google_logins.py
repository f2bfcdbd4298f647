"""Logins of Google, and routes of Code Assist that are not model calls, as Gemini CLI uses them.

Follows the sources of @google/gemini-cli 0.61 (`code_assist/`) and google-auth-library 10.
"""

from collections.abc import Mapping
from typing import Any

from standin.asked import Asked
from standin.messages import Response

_SCOPES = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN = {
    "access_token": "ya29.issued-0123456789abcdefghij",
    "expires_in": 3599,
    "scope": _SCOPES,
    "token_type": "Bearer",
}
_TIER = {"id": "standard-tier", "name": "Gemini Code Assist", "hasOnboardedPreviously": True}

_ANSWERS: Mapping[str, Any] = {
    "/token": _TOKEN,
    "/tokeninfo": {"expires_in": 3599, "scope": _SCOPES, "access_type": "offline"},
    "/oauth2/v2/userinfo": {"id": "1", "email": "alice@example.org"},
    "/v1internal:loadCodeAssist": {"currentTier": _TIER, "cloudaicompanionProject": "standin"},
    "/v1internal:listExperiments": {"experimentIds": [], "flags": []},
    "/v1internal:fetchAdminControls": {},
    "/v1internal:retrieveUserQuota": {"buckets": []},
    "/v1internal:recordCodeAssistMetrics": {},
}


def answer(asked: Asked) -> Response | None:
    """Answer a login, or a route of Code Assist; None on any other path."""
    found = _ANSWERS.get(asked.path)
    return None if found is None else asked.json(found)
