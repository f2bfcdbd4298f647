"""Policy: a request that needs the central key is refused if the proxy has no key."""

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.providers.credentials import PLACEHOLDER_KEY
from aibridge_addon.providers.instance import Provider


class ProviderKey:
    """Refuses requests that carry an access token or placeholder but no provider key."""

    is_constant = True

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that needs a missing central key."""
        credential = asked.credential
        lacks_key = credential is None and asked.sender.admission.sent_as_key
        if lacks_key or (credential and credential.secret == PLACEHOLDER_KEY):
            message = f"aibridge: {_no_central_key(asked.route.provider)}"
            return Refusal(status=400, reason="no_central_key", message=message)
        return None


def _no_central_key(provider: Provider) -> str:
    message = f"this proxy has no key for {provider.name}"
    if provider.central_keys:
        names = " and ".join(key.env for key in provider.central_keys)
        message += f" ({names} {'is' if len(provider.central_keys) == 1 else 'are'} not set)"
    return message + ": send your own key (and the access token in the header X-AIBridge-Token)."
