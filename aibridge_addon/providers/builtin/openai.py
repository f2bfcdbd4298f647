"""OpenAI's API, and hosts that are compatible with it."""

from aibridge_addon.formats import (
    openai_audio,
    openai_batches,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_moderations,
    openai_realtime,
    openai_responses,
    rerank,
)
from aibridge_addon.formats.openai_responses import compact as openai_responses_compact
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import (
    NO_MEMBERS,
    POST,
    READ,
    STORED,
    ProviderType,
    RouteTemplate,
)

_POSTED = {
    "/chat/completions": openai_chat.FORMAT,
    "/completions": openai_completions.FORMAT,
    "/fim/completions": openai_completions.FORMAT,  # Mistral
    "/agents/completions": openai_chat.FORMAT,  # Mistral; an agent in the place of the model
    "/sonar": openai_chat.FORMAT,  # Perplexity
    "/agent": openai_responses.FORMAT,  # Perplexity
    "/responses/compact": openai_responses_compact.FORMAT,
    "/embeddings": openai_embeddings.FORMAT,
    "/multimodalembeddings": openai_embeddings.FORMAT,  # Voyage
    "/contextualizedembeddings": openai_embeddings.FORMAT,  # Voyage
    "/moderations": openai_moderations.FORMAT,
    "/images/generations": openai_images.FORMAT,
    "/images/edits": openai_images.FORMAT,
    "/images/variations": openai_images.FORMAT,
    "/audio/transcriptions": openai_audio.TRANSCRIPTIONS,
    "/audio/translations": openai_audio.TRANSCRIPTIONS,
    "/audio/speech": openai_audio.SPEECH,
    "/rerank": rerank.FORMAT,
    "/reranking": rerank.FORMAT,  # NVIDIA
}
"""Wire formats of the model calls, by their paths."""

_OF_CONVERSATIONS = frozenset({"items", "metadata"})
"""Members of OpenAI's conversations, which are stored only; those of Mistral call a model."""

ROUTES = (
    *(
        RouteTemplate(path=path, methods=POST, api=wire_format.name)
        for path, wire_format in _POSTED.items()
    ),
    RouteTemplate(
        path="/responses",
        methods=POST | {"GET"},  # a WebSocket begins as GET
        api=openai_responses.FORMAT.name,
        socket=openai_responses.FORMAT.name,
    ),
    RouteTemplate(
        path="/responses/input_tokens", methods=POST, counts_for=openai_responses.FORMAT.name
    ),
    RouteTemplate(path="/responses/*", methods=STORED, free_members=NO_MEMBERS),
    RouteTemplate(path="/agent/*", methods=STORED, free_members=NO_MEMBERS),
    RouteTemplate(path="/models", methods=READ),
    RouteTemplate(path="/models/*", methods=READ),
    RouteTemplate(path="/conversations", methods=STORED, free_members=_OF_CONVERSATIONS),
    RouteTemplate(path="/conversations/*", methods=STORED, free_members=_OF_CONVERSATIONS),
    RouteTemplate(path="/batches", methods=POST | READ, api=openai_batches.FORMAT.name),
    RouteTemplate(path="/batches/*", methods=POST | {"GET"}, names_models=False),
    RouteTemplate(path="/realtime", methods=frozenset({"GET"}), socket=openai_realtime.FORMAT.name),
    RouteTemplate(path="/realtime/client_secrets", methods=POST, creates_keys=True),
    RouteTemplate(path="/realtime/sessions", methods=POST, creates_keys=True),
    RouteTemplate(path="/realtime/transcription_sessions", methods=POST, creates_keys=True),
    RouteTemplate(path="/realtime/calls", methods=POST),
    RouteTemplate(path="/realtime/calls/*", methods=POST, free_members=NO_MEMBERS),
    RouteTemplate(path="/files", methods=POST | READ, names_models=False),
    RouteTemplate(path="/files/*", methods=READ | {"DELETE"}, names_models=False),
    RouteTemplate(path="/uploads", methods=POST, names_models=False),
    RouteTemplate(path="/uploads/*", methods=POST, names_models=False),
    RouteTemplate(path="/vector_stores", methods=POST | READ),
    RouteTemplate(path="/vector_stores/*", methods=STORED, free_members=NO_MEMBERS),
)
"""Routes below the base URL."""

TYPE = ProviderType(
    name="openai",
    error_format=openai_chat.FORMAT.name,
    prefix="/v1",
    routes=ROUTES,
)

_REGIONS = ("ae", "au", "ca", "eu", "gb", "in", "jp", "kr", "sg", "us")
"""Regions with data residency, as their hosts begin."""

INSTANCES = (
    Provider(
        name="openai",
        type=TYPE.name,
        base_url="https://api.openai.com/v1",
        hosts=frozenset({"api.openai.com"}),
        api_key_env="OPENAI_API_KEY",
    ),
    Provider(  # for Codex with a ChatGPT login
        name="chatgpt",
        type=TYPE.name,
        base_url="https://chatgpt.com/backend-api/codex",
        hosts=frozenset({"chatgpt.com"}),
    ),
    *(
        Provider(
            name=f"openai-{region}",
            type=TYPE.name,
            base_url=f"https://{region}.api.openai.com/v1",
            hosts=frozenset({f"{region}.api.openai.com"}),
            api_key_env="OPENAI_API_KEY",
            is_optional=True,
        )
        for region in _REGIONS
    ),
)
