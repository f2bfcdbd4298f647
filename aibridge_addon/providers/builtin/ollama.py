"""Ollama: its own API, and those of OpenAI and Anthropic that it speaks too."""

from aibridge_addon.formats import ollama
from aibridge_addon.formats.ollama import embeddings
from aibridge_addon.providers.builtin.anthropic import MESSAGES_ROUTES
from aibridge_addon.providers.builtin.openai import ROUTES
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import POST, READ, ProviderType, RouteTemplate, below

TYPE = ProviderType(
    name="ollama",
    error_format=ollama.CHAT.name,
    key_probe="/v1/models",
    routes=(
        RouteTemplate(path="/api/chat", methods=POST, api=ollama.CHAT.name),
        RouteTemplate(path="/api/generate", methods=POST, api=ollama.GENERATE.name),
        RouteTemplate(path="/api/embed", methods=POST, api=embeddings.FORMAT.name),
        RouteTemplate(path="/api/embeddings", methods=POST, api=embeddings.FORMAT.name),
        RouteTemplate(path="/api/show", methods=POST),
        RouteTemplate(path="/api/tags", methods=READ),
        RouteTemplate(path="/api/ps", methods=READ),
        RouteTemplate(path="/api/version", methods=READ),
        RouteTemplate(path="/", methods=READ),
        RouteTemplate(path="", methods=READ),
        *below("/v1", ROUTES),
        *MESSAGES_ROUTES,
    ),
)

INSTANCES = (
    Provider(
        name="ollama",
        type=TYPE.name,
        base_url="http://127.0.0.1:11434",
        hosts=frozenset(),
        is_optional=True,
    ),
    Provider(
        name="ollama-cloud",
        type=TYPE.name,
        base_url="https://ollama.com",
        hosts=frozenset({"ollama.com"}),
        api_key_env="OLLAMA_API_KEY",
        is_optional=True,
    ),
)
