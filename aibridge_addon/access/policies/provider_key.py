"""Policy: a request that asks for the central key finds one."""

from aibridge_addon.access.policies.asked import Asked, Refusal
from aibridge_addon.providers.credentials import PLACEHOLDER_KEY
from aibridge_addon.providers.routing import Provider


class ProviderKey:
    """Refuses what would go up with an access token or a placeholder in place of a key."""

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that needs a central key where there is none."""
        credential = asked.credential
        lacks_key = credential is None and asked.sender.admission.as_key
        if lacks_key or (credential and credential.secret == PLACEHOLDER_KEY):
            message = f"aibridge: {_no_central_key(asked.route.provider)}"
            return Refusal(status=400, reason="no_central_key", message=message)
        return None


def _no_central_key(provider: Provider) -> str:
    message = f"this proxy has no key for {provider.name}"
    if provider.api_key_env:
        message += f" ({provider.api_key_env} is not set)"
    return message + ": give your own (and an access token in the header X-AIBridge-Token)."
