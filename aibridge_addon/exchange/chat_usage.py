"""Asks for the usage of streamed Chat Completions, which providers report only when asked."""

from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.bridged import BridgedExchange
from aibridge_addon.exchange.delivery import Delivery
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.policy_check import is_reverse


class ChatUsage:
    """Applies the option `aibridge_ask_chat_usage`."""

    def __init__(self, settings: Settings) -> None:
        self._rule = settings.ask_chat_usage

    async def ask(self, exchange: Exchange) -> Exchange:
        """Edit a request so that usage is reported, and withhold the extra event."""
        if not isinstance(exchange, BridgedExchange) or not exchange.asks_for_stream:
            return exchange
        read = exchange.read
        if (
            self._may_ask(exchange)
            and (edited := read.wire_format.ask_for_usage(read.members)) is not None
        ):
            read.members = edited
            read.replace_body(edited)
            read.ask_for_plain_response()
            exchange.delivery = Delivery(withhold=read.wire_format.is_usage_only)
        return exchange

    def _may_ask(self, exchange: Exchange) -> bool:
        """Return True if requests may be edited: those of a forward proxy stay unchanged."""
        accepts = is_reverse(exchange.flow) and exchange.request.route.provider.takes_include_usage
        return self._rule == "always" or (self._rule == "auto" and accepts)
