"""Hosts, names in reverse URLs, and paths of each wire format, for the shared proxy."""

from collections.abc import Callable
from typing import NamedTuple

from aibridge_addon.formats.decoders.aws_frames import MEDIA_TYPE as FRAMES
from aibridge_addon.formats.decoders.aws_frames import chunk_frame, event_frame
from e2e.tables import provider_toml

HOSTS = {
    "anthropic": "api.anthropic.com",
    "openai": "api.openai.com",
    "gemini": "generativelanguage.googleapis.com",
    "code-assist": "cloudcode-pa.googleapis.com",
    "vertex": "europe-west1-aiplatform.googleapis.com",
    "bedrock": "bedrock-runtime.eu-west-1.amazonaws.com",
    "ollama": "ollama.com",
}
"""Host that clients of the forward proxy use, by the name of the provider instance."""
PREFIXES = {"openai": "/v1"}
"""Part of a base URL after the host."""

_LINES = "application/x-ndjson"


def more_providers(origin: str) -> str:
    """Return a config file that puts a stand-in in the place of the other providers."""
    return "".join(
        provider_toml(origin, name, host)
        for name, host in HOSTS.items()
        if name not in ("anthropic", "openai")
    )


def google_toml(origin: str) -> str:
    """Return a config file that puts a stand-in in the place of Google's services."""
    at_google = {"price_as": "google"}
    gemini = {"api_key_env": "GEMINI_API_KEY", **at_google}
    return "".join(
        (
            provider_toml(origin, "gemini", HOSTS["gemini"], **gemini),
            provider_toml(origin, "code-assist", HOSTS["code-assist"]),
            provider_toml(
                origin, "vertex", HOSTS["vertex"], "aiplatform.googleapis.com", **at_google
            ),
        )
    )


class Place(NamedTuple):
    """A path at which a wire format is spoken, and how its streams are framed."""

    provider: str
    path: str
    stream_path: str = ""
    """Path of a streamed request, if it has another."""
    frame: Callable[[list[tuple[str, bytes]]], list[bytes]] | None = None
    """Frames events as this place sends them, given their names and data; None: as they are."""
    media_type: str = "text/event-stream; charset=utf-8"

    def events(self, stream: bytes) -> list[bytes]:
        """Return the events of a fixture, as this place sends them."""
        blocks = [block + b"\n\n" for block in stream.split(b"\n\n") if block]
        return blocks if self.frame is None else self.frame([*filter(None, map(_event, blocks))])

    def path_of(self, *, stream: bool) -> str:
        """Return the path of a request."""
        return self.stream_path if stream and self.stream_path else self.path


def _event(block: bytes) -> tuple[str, bytes] | None:
    """Return name and data of an event, of which fixtures have a line each."""
    lines = dict(line.split(b": ", 1) for line in block.splitlines() if b": " in line)
    return (lines.get(b"event", b"").decode(), lines[b"data"]) if b"data" in lines else None


def _as_array(events: list[tuple[str, bytes]]) -> list[bytes]:
    """Frame events as one JSON array."""
    elements = [b"[", *(data + b",\r\n" for _, data in events)]
    return [*elements[:-1], elements[-1].removesuffix(b",\r\n") + b"]\n"]


def _as_lines(events: list[tuple[str, bytes]]) -> list[bytes]:
    return [data + b"\n" for _, data in events]


def _as_chunks(events: list[tuple[str, bytes]]) -> list[bytes]:
    return [chunk_frame(data) for _, data in events]


def _as_frames(events: list[tuple[str, bytes]]) -> list[bytes]:
    return [event_frame(name, data) for name, data in events]


def _google(provider: str, models: str, verb: str = "generateContent") -> tuple[Place, Place]:
    whole, streamed = f"{models}:{verb}", f"{models}:stream{verb[0].upper()}{verb[1:]}"
    return (
        Place(provider, whole, f"{streamed}?alt=sse"),
        Place(provider, whole, streamed, _as_array, "application/json"),
    )


PLACES: dict[str, tuple[Place, ...]] = {
    "anthropic_messages": (Place("anthropic", "/v1/messages"),),
    "anthropic_batches": (Place("anthropic", "/v1/messages/batches"),),
    "openai_chat": (Place("openai", "/chat/completions"),),
    "openai_responses": (Place("openai", "/responses"),),
    "openai_responses_compact": (Place("openai", "/responses/compact"),),
    "openai_completions": (Place("openai", "/completions"),),
    "openai_embeddings": (Place("openai", "/embeddings"),),
    "openai_moderations": (Place("openai", "/moderations"),),
    "openai_images": (Place("openai", "/images/generations"),),
    "openai_transcriptions": (Place("openai", "/audio/transcriptions"),),
    "openai_speech": (Place("openai", "/audio/speech"),),
    "openai_batches": (Place("openai", "/batches"),),
    "rerank": (Place("openai", "/rerank"),),
    "gemini": (
        *_google("gemini", "/v1beta/models/m"),
        *_google("code-assist", "/v1internal"),
        *_google("vertex", "/v1/projects/p/locations/europe-west1/publishers/google/models/m"),
    ),
    "gemini_interactions": (Place("gemini", "/v1beta/interactions"),),
    "gemini_batches": (Place("gemini", "/v1beta/models/m:batchGenerateContent"),),
    "gemini_predictions": (Place("gemini", "/v1beta/models/m:predict"),),
    "gemini_caches": (Place("gemini", "/v1beta/cachedContents"),),
    "gemini_embeddings": (Place("gemini", "/v1beta/models/m:batchEmbedContents"),),
    "bedrock_invoke": (
        Place(
            *("bedrock", "/model/m/invoke", "/model/m/invoke-with-response-stream"),
            *(_as_chunks, FRAMES),
        ),
    ),
    "bedrock_converse": (
        Place(
            *("bedrock", "/model/m/converse", "/model/m/converse-stream"),
            *(_as_frames, FRAMES),
        ),
    ),
    "ollama_chat": (Place("ollama", "/api/chat", "", _as_lines, _LINES),),
    "ollama_generate": (Place("ollama", "/api/generate", "", _as_lines, _LINES),),
    "ollama_embeddings": (Place("ollama", "/api/embed"),),
}
"""Places of each wire format of HTTP."""
