"""Google's Vertex AI, in all regions, with Claude; and Claude's own API on Google Cloud."""

from aibridge_addon.formats import (
    anthropic_messages,
    gemini,
    gemini_interactions,
    gemini_live,
    openai_chat,
)
from aibridge_addon.formats.gemini import caches
from aibridge_addon.providers.builtin.anthropic import MESSAGES_ROUTES
from aibridge_addon.providers.builtin.gemini import model_routes
from aibridge_addon.providers.builtin.openai import ROUTES
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import (
    NO_MEMBERS,
    POST,
    READ,
    STORED,
    ProviderType,
    RouteTemplate,
    below,
)

_PROJECT = "/{version}/projects/{project}/locations/{location}"
_GOOGLE = "/publishers/google/models/{model}"
_CLAUDE = f"{_PROJECT}/publishers/anthropic/models"
_MESSAGES = anthropic_messages.FORMAT.name
_ENDPOINTS = f"{_PROJECT}/endpoints"

_OPENAI_ROUTES = tuple(
    route for route in ROUTES if route.path in ("/chat/completions", "/responses")
)

TYPE = ProviderType(
    name="vertex",
    error_format=gemini.FORMAT.name,
    credential_headers=("x-goog-api-key",),  # of the express mode
    key_probe="/v1beta1/publishers/google/models",
    routes=(
        *model_routes(_PROJECT + _GOOGLE),
        *model_routes("/{version}" + _GOOGLE),
        *model_routes(f"{_ENDPOINTS}/{{endpoint}}"),
        RouteTemplate(
            path=f"{_ENDPOINTS}/openapi/chat/completions",
            methods=POST,
            api=openai_chat.FORMAT.name,
        ),
        *below(f"{_PROJECT}/publishers/openai/v1", _OPENAI_ROUTES),
        RouteTemplate(
            path=f"{_CLAUDE}/count-tokens:rawPredict", methods=POST, counts_for=_MESSAGES
        ),
        RouteTemplate(path=f"{_CLAUDE}/{{model}}:rawPredict", methods=POST, api=_MESSAGES),
        RouteTemplate(path=f"{_CLAUDE}/{{model}}:streamRawPredict", methods=POST, api=_MESSAGES),
        *below("/{+workspace}/invoke", MESSAGES_ROUTES),
        RouteTemplate(
            path=f"{_PROJECT}/cachedContents", methods=POST | READ, api=caches.FORMAT.name
        ),
        RouteTemplate(path=f"{_PROJECT}/cachedContents/*", methods=STORED | {"PATCH"}),
        RouteTemplate(
            path=f"{_PROJECT}/interactions", methods=POST, api=gemini_interactions.FORMAT.name
        ),
        RouteTemplate(path=f"{_PROJECT}/interactions/*", methods=STORED, free_members=NO_MEMBERS),
        RouteTemplate(
            path="/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent",
            methods=frozenset({"GET"}),
            socket=gemini_live.FORMAT.name,
        ),
        # Of other verbs and publishers the model is known and the usage is not.
        RouteTemplate(
            path=f"{_PROJECT}/publishers/{{publisher}}/models/{{model}}:{{verb}}", methods=POST
        ),
        RouteTemplate(path="/{version}/publishers/{publisher}/models/{model}:{verb}", methods=POST),
        RouteTemplate(path="/{version}/publishers/google/models", methods=READ),
        RouteTemplate(path="/{version}/publishers/google/models/*", methods=READ),
    ),
)

INSTANCES = (
    Provider(
        name="vertex",
        type=TYPE.name,
        base_url="https://aiplatform.googleapis.com",
        hosts=frozenset(
            {
                "aiplatform.googleapis.com",
                "*-aiplatform.googleapis.com",
                "aiplatform.*.rep.googleapis.com",
            }
        ),
        is_optional=True,
    ),
    Provider(  # Anthropic's own API on Google Cloud
        name="claude-google",
        type=TYPE.name,
        base_url="https://claude.googleapis.com",
        hosts=frozenset({"claude.googleapis.com"}),
        is_optional=True,
    ),
)
