"""The edits of requests, in the order in which they are made."""

from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.central_tools import CentralTools
from aibridge_addon.exchange.chat_usage import ChatUsage
from aibridge_addon.exchange.model_edits import ModelEdits
from aibridge_addon.exchange.reception import Edit
from aibridge_addon.exchange.request_signing import RequestSigning
from aibridge_addon.exchange.signed_requests import unless_signed


def edits_of(
    settings: Settings,
    *,
    models: ModelEdits,
    attach: Edit,
    central: CentralTools | None,
    signing: RequestSigning,
) -> tuple[Edit, ...]:
    """Return the edits that these settings ask for.

    Args:
        settings: of this moment.
        models: applies the model rules.
        attach: continues the record of a background response; changes no request.
        central: offers central tools; None without servers.
        signing: signs requests with the operator's credentials.
    """
    return (
        models.apply,
        unless_signed(ChatUsage(settings).ask),
        attach,
        *((unless_signed(central.offer),) if central else ()),
        signing.prepare,
    )
