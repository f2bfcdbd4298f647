"""Anthropic's API."""

from aibridge_addon.formats import anthropic_batches, anthropic_messages
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import POST, READ, ProviderType, RouteTemplate

MESSAGES_ROUTES = (
    RouteTemplate(path="/v1/messages", methods=POST, api=anthropic_messages.FORMAT.name),
    RouteTemplate(
        path="/v1/messages/count_tokens",
        methods=POST,
        counts_for=anthropic_messages.FORMAT.name,
    ),
)
"""Routes of Anthropic Messages, which hosts of other types have too."""

TYPE = ProviderType(
    name="anthropic",
    error_format=anthropic_messages.FORMAT.name,
    key_header="x-api-key",
    key_value="{key}",
    key_probe="/v1/models",
    key_probe_headers={"anthropic-version": "2023-06-01"},
    client_header="anthropic-version",
    routes=(
        *MESSAGES_ROUTES,
        RouteTemplate(
            path="/v1/messages/batches", methods=POST | READ, api=anthropic_batches.FORMAT.name
        ),
        RouteTemplate(
            path="/v1/messages/batches/*", methods=POST | READ | {"DELETE"}, names_models=False
        ),
        RouteTemplate(path="/v1/files", methods=POST | READ, names_models=False),
        RouteTemplate(path="/v1/files/*", methods=READ | {"DELETE"}, names_models=False),
        RouteTemplate(path="/v1/models", methods=READ),
        RouteTemplate(path="/v1/models/*", methods=READ),
        RouteTemplate(path="/api/event_logging/*", methods=POST, names_models=False),
        RouteTemplate(path="/", methods=frozenset({"HEAD"})),
        RouteTemplate(path="", methods=frozenset({"HEAD"})),
    ),
    aliases={  # of SDKs that expect `/v1` to be part of the base URL
        "/messages": "/v1/messages",
        "/messages/count_tokens": "/v1/messages/count_tokens",
    },
)

INSTANCES = (
    Provider(
        name="anthropic",
        type=TYPE.name,
        base_url="https://api.anthropic.com",
        hosts=frozenset({"api.anthropic.com"}),
        api_key_env="ANTHROPIC_API_KEY",
    ),
)
