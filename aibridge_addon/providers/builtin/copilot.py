"""GitHub Copilot: OpenAI's API without `/v1`, and Anthropic Messages.

Each plan has a host of its own, and so has each company on GHE.com. The token for it comes from
another host, `api.github.com`, whose connections are not intercepted.
"""

from aibridge_addon.formats import openai_chat
from aibridge_addon.providers.builtin.anthropic import MESSAGES_ROUTES
from aibridge_addon.providers.builtin.openai import ROUTES
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import ProviderType

TYPE = ProviderType(
    name="copilot",
    error_format=openai_chat.FORMAT.name,
    credential_headers=("copilot-session-token",),
    routes=(*ROUTES, *MESSAGES_ROUTES),
)

INSTANCES = (
    Provider(
        name="copilot",
        type=TYPE.name,
        is_optional=True,
        base_url="https://api.githubcopilot.com",
        hosts=frozenset(
            {"api.githubcopilot.com", "api.*.githubcopilot.com", "copilot-api.*.ghe.com"}
        ),
    ),
)
