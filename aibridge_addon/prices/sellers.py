"""Sellers: whose price list applies to a provider instance, by its host or its `price_as`. Pure.

A seller is never derived from a model's name: the same model has another price at each seller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from aibridge_addon.providers.known_hosts import preset_of_host


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """A price list, and the surcharge of the host."""

    id: str
    """Its provider id in genai-prices."""
    surcharge: Decimal = Decimal(1)
    """Factor on the prices of tokens."""
    only_newer_models: bool = False
    """True if the surcharge is for newer models only: see `regional_surcharges`."""


_HOSTS: Mapping[str, str] = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "chatgpt.com": "openai",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "api.cohere.com": "cohere",
    "api.githubcopilot.com": "github-copilot",
    "api.novita.ai": "novita",
    "inference.baseten.co": "baseten",
    "open.bigmodel.cn": "zhipuai",
}
"""Not included: presets, which name their seller; hosts whose prices depend on more than the host,
such as Azure's deployments and the regional endpoints of Bedrock and Vertex AI."""

_BEDROCK = ("bedrock-runtime.", "bedrock-runtime-fips.", "bedrock-mantle.")
"""Beginnings of the hosts of each region; the model's name tells if it is priced by region."""
_REGIONAL = (".api.openai.com", "us.api.x.ai")
"""Ends of the hosts of a region that cost more than the global one."""
_REGIONAL_SURCHARGE = Decimal("1.1")


def seller_of(base_url: str, price_as: str | None = None) -> Seller | None:
    """Return the seller of a provider instance; None if its host is unknown."""
    host = (urlsplit(base_url).hostname or "").removesuffix(".")
    if price_as is not None:
        return Seller(id=price_as)
    if host.startswith(_BEDROCK):
        return Seller(id="aws")
    if host.endswith(_REGIONAL):
        is_openai = host.endswith("openai.com")
        return Seller(
            id="openai" if is_openai else "x-ai",
            surcharge=_REGIONAL_SURCHARGE,
            only_newer_models=is_openai,
        )
    preset = preset_of_host(host)
    seller_id = preset.seller if preset else _HOSTS.get(host)
    return Seller(id=seller_id) if seller_id else None
