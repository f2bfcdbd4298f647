"""Prepares the signing of requests that the reverse proxy sends with the operator's credentials.

The signature itself is made when a head is sent, after every edit: see `ClientRequest.outgoing`.
"""

from aibridge_addon.exchange.error_responses import shaped_error
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.relay.aws_signing import Scope, Signer, SigningError


class RequestSigning:
    """Gives each request that needs a signature the signer of its provider instance."""

    def __init__(self) -> None:
        self._signers: dict[Scope, Signer] = {}

    async def prepare(self, exchange: Exchange) -> Exchange:
        """Let a request be signed; answer it with an error if there are no credentials."""
        request = exchange.request
        if not request.needs_signature:
            return exchange
        scope = Scope.of_provider(request.route.provider)
        try:
            request.sign = await self._signers.setdefault(scope, Signer(scope)).ready()
        except (SigningError, TimeoutError) as error:
            reason = str(error) or "the look-up of AWS credentials took too long"
            exchange.flow.response = shaped_error(exchange.wire_format, 400, f"aibridge: {reason}")
        return exchange
