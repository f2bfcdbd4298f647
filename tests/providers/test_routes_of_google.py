"""Alarm: every POST of google-genai is recorded, counted, or unread with a reason."""

import re
from pathlib import Path

import pytest
from google import genai

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.routing import Router

ROUTER = Router(DEFAULT_PROVIDERS)
SDK = Path(str(genai.__file__)).parent
PROJECT = "/v1/projects/p/locations/global"
HOSTS = {
    "gemini": ("generativelanguage.googleapis.com", "/v1beta"),
    "vertex": ("aiplatform.googleapis.com", PROJECT),
}
VALUES = {
    "model": {"gemini": "models/m", "vertex": "publishers/google/models/m"},
    "resourceName": {
        "gemini": "models/m",
        "vertex": "publishers/google/models/m",
    },
    "name": {"gemini": "things/1", "vertex": "things/1"},
}
"""Values in paths, by provider; other values are `id`."""

UNREAD = {
    r".*:predictLongRunning|.*:fetchPredictOperation": "videos: billed by seconds, without usage",
    r".*/batchPredictionJobs.*": "batches of Vertex AI, whose results are in Cloud Storage",
    r".*/(tuningJobs|tunedModels)\b.*": "jobs for tuning, billed by their own rules",
    r".*/fileSearchStores\b.*|.*:(uploadToFileSearchStore|importFile)": "no usage is documented",
    r".*/auth_tokens.*": "tokens of a session: what is done with them comes as a session",
    r".*/(agents|triggers|environments|credentials|webhooks|voices)\b.*": "agents of the provider",
    r".*/decisions": "no usage is documented",
    r".*/files.*": "files are free",
    r".*/batches/id:cancel|.*/interactions/id/cancel": "ends a call that is recorded",
    r".*/things/1.*": "resources that are read, changed or cancelled",
}
"""Patterns of paths that are relayed without a record, with the reason."""

PATH = re.compile(r"path = '([^']+)'(?:\.format)?")
SENT = re.compile(r"request\(\s*'(\w+)',\s*path")
OF_GAOS = re.compile(r'method="POST",\s*(?:base_url=[^,]+,\s*)?path="([^"]+)"')


def posts_of_models() -> set[tuple[str, str]]:
    """Return provider and path of every POST in the generated modules; Vertex AI comes first."""
    found = set()
    for file in SDK.glob("*.py"):
        text = file.read_text()
        for body in re.split(r"\n  (?:async )?def ", text):
            sent = SENT.search(body)
            if sent and sent[1] == "post":
                before = body[: sent.start()]
                for branch in re.split(r"\n    else:", before):
                    provider = "vertex" if "vertexai:" in branch else "gemini"
                    found |= {(provider, path) for path in PATH.findall(branch)}
    return found


def posts() -> list[tuple[str, str]]:
    """Return provider and concrete path of every POST of the SDK."""
    found = {(provider, concrete(provider, path)) for provider, path in posts_of_models()}
    for file in SDK.glob("_gaos/*.py"):
        for path in OF_GAOS.findall(file.read_text()):
            plain = path.replace("{api_version}", "v1beta")
            found.add(("gemini", re.sub(r"\{\w+\}", "id", plain)))
    return sorted(found)


def concrete(provider: str, path: str) -> str:
    prefix = "" if path.startswith("upload/") else HOSTS[provider][1] + "/"
    path = path.replace("{api_version}", "v1beta").partition("?")[0]
    found = re.sub(r"\{(\w+)\}", lambda m: VALUES.get(m[1], {}).get(provider, "id"), path)
    return prefix + found if prefix else "/" + found


def label(provider: str, path: str) -> str:
    """Return how a path is routed: the format that records it, what it counts for, or nothing."""
    route = ROUTER.forward(HOSTS[provider][0], path, "POST")
    assert route
    return route.api or (f"counts for {route.counts_for}" if route.counts_for else "")


POSTS = posts()


def test_paths_of_the_sdk_are_found() -> None:
    assert {
        ("gemini", "/v1beta/models/m:generateContent"),
        ("vertex", f"{PROJECT}/publishers/google/models/m:generateContent"),
        ("gemini", "/v1beta/models/m:asyncBatchEmbedContent"),
        ("gemini", "/v1beta/interactions"),
        ("vertex", f"{PROJECT}/cachedContents"),
    } <= set(POSTS)
    assert len(POSTS) > 30


@pytest.mark.parametrize(("provider", "path"), POSTS)
def test_post_of_google_is_recorded_or_unread_with_a_reason(provider: str, path: str) -> None:
    reasons = [why for pattern, why in UNREAD.items() if re.fullmatch(pattern, path)]
    assert bool(label(provider, path)) != bool(reasons), (label(provider, path), reasons)


def test_model_calls_of_google_are_recorded() -> None:
    recorded = {label(*post) for post in POSTS}
    assert recorded == {
        *("gemini", "gemini_batches", "gemini_caches", "gemini_embeddings"),
        *("gemini_interactions", "gemini_predictions", "counts for gemini", ""),
    }
