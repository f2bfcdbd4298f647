"""The table `[[front_proxies]]` of the config file."""

from ipaddress import ip_network
from typing import Annotated

import pydantic

from aibridge_addon.access.front_proxies import FrontProxy
from aibridge_addon.config.validation import TABLE
from aibridge_addon.providers.credentials import CREDENTIAL_HEADERS

_FORBIDDEN = frozenset({"host", "content-length", "content-type", "transfer-encoding"})


def _check_network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError("is not a network; write it as 10.0.0.0/8 or 127.0.0.1") from error
    return value


def _check_header(value: str) -> str:
    lower = value.lower()
    if not lower.replace("-", "").replace("_", "").isalnum():
        raise ValueError("is not the name of a header, such as X-Forwarded-User")
    if lower in _FORBIDDEN or lower in CREDENTIAL_HEADERS:
        raise ValueError("already has a meaning in requests; choose another header")
    return lower


type _Network = Annotated[str, pydantic.AfterValidator(_check_network)]
type _Header = Annotated[str, pydantic.AfterValidator(_check_header)]


class FrontProxyTable(pydantic.BaseModel):
    """A front proxy."""

    model_config = TABLE

    networks: Annotated[list[_Network], pydantic.Field(min_length=1)]
    actor_header: _Header
    teams_header: _Header | None = None

    def front_proxy(self) -> FrontProxy:
        """Return the front proxy."""
        return FrontProxy(
            networks=tuple(ip_network(network) for network in self.networks),
            actor_header=self.actor_header,
            teams_header=self.teams_header,
        )
