"""The rule for signed requests of the forward proxy: nothing that the signature covers is changed.

A signature of AWS covers the body, the path as it is written, and the headers that it names: with
some SDKs all of them, `accept-encoding` and `content-length` too. The rule is applied to edits
here, to headers in `head_reader` and `client_request`, and to paths in `providers.routing`.
"""

from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.reception import Edit


def unless_signed(edit: Edit) -> Edit:
    """Return an edit that leaves signed requests alone."""

    async def apply(exchange: Exchange) -> Exchange:
        return exchange if exchange.request.is_signed else await edit(exchange)

    return apply
