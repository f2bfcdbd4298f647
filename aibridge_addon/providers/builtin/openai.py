"""OpenAI's API, and hosts that are compatible with it."""

from aibridge_addon.formats import openai_chat, openai_responses
from aibridge_addon.formats.openai_responses import compact as openai_responses_compact
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import POST, READ, STORED, ProviderType, RouteTemplate

ROUTES = (
    RouteTemplate(path="/chat/completions", methods=POST, api=openai_chat.FORMAT.name),
    RouteTemplate(
        path="/responses",
        methods=POST | {"GET"},  # a WebSocket begins as GET
        api=openai_responses.FORMAT.name,
        socket=openai_responses.FORMAT.name,
    ),
    RouteTemplate(
        path="/responses/compact", methods=POST, api=openai_responses_compact.FORMAT.name
    ),
    RouteTemplate(path="/responses/*", methods=STORED),
    RouteTemplate(path="/models", methods=READ),
    RouteTemplate(path="/models/*", methods=READ),
    RouteTemplate(path="/conversations", methods=STORED),
    RouteTemplate(path="/conversations/*", methods=STORED),
)
"""Routes below the base URL."""

TYPE = ProviderType(
    name="openai",
    error_format=openai_chat.FORMAT.name,
    prefix="/v1",
    routes=ROUTES,
)

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
)
