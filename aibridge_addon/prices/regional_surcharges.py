"""Surcharges of regional hosts, as far as they depend on the model. Pure.

OpenAI asks for 10 % more at the hosts of its regions for models that were released since 5 March
2026 ("Data residency"). Earlier models are a closed list; a model that is not in it is newer.
"""

import re
from datetime import date
from decimal import Decimal

from aibridge_addon.prices.billed_call import UnpriceableError
from aibridge_addon.prices.sellers import Seller

_SINCE = date(2026, 3, 5)
_EARLIER = re.compile(
    r"(?:ft:)?(?:ada|babbage|curie|davinci|text-|whisper-|tts-|dall-e-|omni-moderation|codex-mini"
    r"|computer-use|chatgpt-4o|o[134](?:-|$)|gpt-(?:3\.5|4|oss)"
    r"|gpt-5(?:\.[123])?(?:-|$)|gpt-(?:audio|realtime)(?:-mini|-1\.5)?(?:-\d{4}-|$)"
    r"|gpt-image-1(?:-|\.5|$))"
)
"""Beginnings of the names of earlier models."""
_SNAPSHOT = re.compile(r"-(\d{4})-(\d\d)-(\d\d)(?:$|:)")


def surcharge_of(seller: Seller | None, model: str) -> Decimal:
    """Return the factor of a seller's host on the prices of a model's tokens.

    Raises:
        UnpriceableError: the name stands for changing models, so that the factor is unknown.
    """
    if seller is None:
        return Decimal(1)
    if not seller.only_newer_models or _is_newer(model.lower()):
        return seller.surcharge
    return Decimal(1)


def _is_newer(model: str) -> bool:
    if found := _SNAPSHOT.search(model):
        year, month, day = map(int, found.groups())
        return (year, month, day) >= (_SINCE.year, _SINCE.month, _SINCE.day)
    if _EARLIER.match(model):
        return False
    if model.endswith("-latest"):
        raise UnpriceableError(f"the surcharge of a regional host is not known for {model}")
    return True
