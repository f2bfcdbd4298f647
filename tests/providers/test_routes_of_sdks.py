"""Alarm: every POST of the installed SDKs is recorded, counted, or unread with a reason."""

import re
from pathlib import Path

import anthropic
import openai
import pytest

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.routing import Router

ROUTER = Router(DEFAULT_PROVIDERS)
CALL = re.compile(r"self\._post\(\s*(?:path_template\(\s*)?f?\"([^\"]+)\"")

UNREAD = {
    "openai": {
        r"/(agents|vaults|webhook_endpoints)\b.*": "agents that the provider runs",
        r"/(assistants|threads|chatkit)\b.*": "stored assistants, which the provider has retired",
        r"/(organization|projects)\b.*": "administration",
        r"/(evals|fine_tuning)\b.*": "jobs of the provider, billed by the hour or in their own run",
        r"/videos\b.*": "billed by seconds of video, without usage in a response",
        r"/live/sessions\b.*": "a successor of Realtime, whose sockets are not read yet",
        r"/realtime/translations/.*": "translation sessions, whose sockets are not read yet",
        r"/audio/voice(s|_consents)\b.*": "voices are no model calls",
        r"/(containers|skills)\b.*": "files and sandboxes of tools",
        r"/content_provenance_checks": "no model call",
        r"/decisions": "no usage is documented",
        r"/chat/completions/\{completion_id\}": "changes the metadata of a stored completion",
    },
    "anthropic": {
        r"/v1/(agents|deployments|environments|sessions|vaults)\b.*": "agents of the provider",
        r"/v1/(dreams|memory_stores)\b.*": "memory of agents",
        r"/v1/organizations\b.*": "administration",
        r"/v1/(skills|tunnels|user_profiles)\b.*": "no model calls",
        r"/v1/oauth.*": "logins",
    },
}
"""Patterns of paths that are relayed unread, with the reason; the reverse proxy has no route."""


def posts(module: object) -> list[str]:
    """Return the paths of all POST requests of an SDK."""
    folder = Path(str(getattr(module, "__file__"))).parent / "resources"  # noqa: B009 untyped
    found = {
        path.partition("?")[0]
        for file in folder.rglob("*.py")
        for path in CALL.findall(file.read_text())
    }
    return sorted(found)


OPENAI, ANTHROPIC = posts(openai), posts(anthropic)


def label(provider: str, path: str) -> str:
    """Return how a path is routed: the format that records it, `passes`, or nothing."""
    concrete = re.sub(r"\{\w+\}", "id", path)
    prefix = f"/{provider}/v1" if provider == "openai" else f"/{provider}"
    route = ROUTER.reverse(prefix + concrete, "POST")
    if route is None:
        return ""
    return route.api or route.counts_for or "passes"


def test_paths_of_the_sdks_are_found() -> None:
    assert {"/responses", "/audio/speech", "/batches", "/files"} <= set(OPENAI)
    assert {"/v1/messages", "/v1/messages/batches"} <= set(ANTHROPIC)


@pytest.mark.parametrize(
    ("provider", "path"),
    [*(("openai", path) for path in OPENAI), *(("anthropic", path) for path in ANTHROPIC)],
)
def test_post_of_an_sdk_is_routed_or_unread_with_a_reason(provider: str, path: str) -> None:
    reasons = [why for pattern, why in UNREAD[provider].items() if re.fullmatch(pattern, path)]
    assert bool(label(provider, path)) != bool(reasons), (label(provider, path), reasons)


def test_model_calls_of_the_sdk_are_recorded() -> None:
    recorded = {path for path in OPENAI if label("openai", path) not in ("", "passes")}
    assert recorded == {
        *("/audio/speech", "/audio/transcriptions", "/audio/translations", "/batches"),
        *("/chat/completions", "/completions", "/embeddings", "/images/edits"),
        *("/images/generations", "/images/variations", "/moderations", "/responses"),
        *("/responses/compact", "/responses/input_tokens"),
    }
