"""Prepares the signing of requests that the reverse proxy sends with the operator's credentials.

The signature itself is made when a head is sent, after every edit: see `ClientRequest.outgoing`.
"""

from aibridge_addon.exchange.error_responses import shaped_error
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.providers.instance import Provider
from aibridge_addon.relay.aws_signing import Scope, Sign, Signer, SigningError


class RequestSigning:
    """Gives each request that needs a signature the signer of its provider instance."""

    def __init__(self) -> None:
        self._signers: dict[Scope, Signer] = {}

    async def prepare(self, exchange: Exchange) -> Exchange:
        """Let a request be signed; answer it with an error if there are no credentials."""
        request = exchange.request
        if not request.needs_signature:
            return exchange
        try:
            request.sign = await self.signer_for(request.route.provider)
        except SigningError as error:
            exchange.flow.response = shaped_error(exchange.wire_format, 400, f"aibridge: {error}")
        return exchange

    async def signer_for(self, provider: Provider) -> Sign:
        """Return the function that signs requests to a provider instance.

        Raises:
            SigningError: there are no credentials.
        """
        scope = Scope.of_provider(provider)
        try:
            return await self._signers.setdefault(scope, Signer(scope)).ready()
        except TimeoutError:
            raise SigningError("the look-up of AWS credentials took too long") from None
