"""Azure OpenAI and Azure AI Foundry: OpenAI's API under two paths, and Anthropic Messages.

The older path names a deployment, whose name the customer has chosen: `models` of the instance
tells the model.
"""

from aibridge_addon.formats import openai_chat
from aibridge_addon.providers.builtin.anthropic import MESSAGES_ROUTES
from aibridge_addon.providers.builtin.openai import ROUTES
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import ProviderType, below

_DEPLOYMENT_ROUTES = tuple(
    route for route in ROUTES if route.api and not route.path.startswith("/responses")
)

_INFERENCE_ROUTES = tuple(
    route for route in ROUTES if route.path in ("/chat/completions", "/embeddings")
)
"""Routes of Azure AI Model Inference."""
_DOMAINS = ("openai.azure", "cognitiveservices.azure", "services.ai.azure")


def _hosts(*clouds: str) -> frozenset[str]:
    return frozenset(f"*.{domain}.{cloud}" for domain in _DOMAINS for cloud in clouds)


TYPE = ProviderType(
    name="azure",
    error_format=openai_chat.FORMAT.name,
    key_header="api-key",
    key_value="{key}",
    credential_headers=("ocp-apim-subscription-key",),  # of API Management
    key_probe="/openai/v1/models",
    routes=(
        *below("/openai/deployments/{model}", _DEPLOYMENT_ROUTES),
        *below("/openai/v1", ROUTES),
        *below("/openai", ROUTES),
        *below("/api/projects/{project}/openai/v1", ROUTES),
        *below("/api/projects/{project}/openai", ROUTES),
        *below("/models", _INFERENCE_ROUTES),
        *below("/anthropic", MESSAGES_ROUTES),
    ),
)

INSTANCES = (
    Provider(
        name="azure",
        type=TYPE.name,
        is_optional=True,
        base_url="",
        hosts=_hosts("com"),
        api_key_env="AZURE_OPENAI_API_KEY",
        price_as="azure",
    ),
    Provider(  # of the US government and China, without known prices
        name="azure-sovereign",
        type=TYPE.name,
        is_optional=True,
        base_url="",
        hosts=_hosts("us", "cn"),
        api_key_env="AZURE_OPENAI_API_KEY",
    ),
)
