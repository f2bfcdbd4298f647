"""Policy: an access token in a header that the client has signed is refused, with the way out.

Access tokens never reach a provider, and without the header the signature would be wrong.
"""

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.providers.credentials import TOKEN_HEADER
from aibridge_addon.providers.signatures import signed_names

_MESSAGE = (
    "aibridge: this request is signed together with the header X-AIBridge-Token, which is not"
    " passed on: send the access token as the login of the proxy."
)


class SignedToken:
    """Refuses signed requests whose signature covers the access token."""

    is_constant = True

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request that its provider would not accept."""
        covered = signed_names(asked.sender.admission.headers) if asked.is_signed else ()
        if TOKEN_HEADER.encode() in covered:
            return Refusal(status=400, reason="token_in_signature", message=_MESSAGE)
        return None
