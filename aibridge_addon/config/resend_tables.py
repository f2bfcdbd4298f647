"""Keys of `[[providers]]` about key pools, retries and fallbacks."""

from typing import Annotated, Literal

import pydantic

from aibridge_addon.access.keys.failures import FailureKind
from aibridge_addon.config.validation import TABLE, VariableName
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.resend_rules import Fallback, ResendRules

type _Text = Annotated[str, pydantic.StringConstraints(min_length=1, max_length=200)]
type _On = FailureKind | Literal["circuit_open"]

DEFAULT_FALLBACK_ON: tuple[_On, ...] = ("overload", "circuit_open", "rate", "credential")


class KeyTable(pydantic.BaseModel):
    """A key of a pool, an element of `keys`."""

    model_config = TABLE

    env: VariableName
    organization: _Text | None = None
    weight: Annotated[int | float, pydantic.Field(gt=0, le=1000)] = 1

    def key(self) -> CentralKey:
        """Return the key."""
        return CentralKey(env=self.env, organization=self.organization, weight=float(self.weight))


class FallbackTable(pydantic.BaseModel):
    """Another instance, an element of `fallbacks`."""

    model_config = TABLE

    provider: _Text
    models: Annotated[dict[_Text, _Text], pydantic.Field(min_length=1)]
    on: list[_On] = list(DEFAULT_FALLBACK_ON)

    def fallback(self) -> Fallback:
        """Return the fallback."""
        return Fallback(provider=self.provider, models=self.models, on=frozenset(self.on))


class ResendTable(pydantic.BaseModel):
    """The keys of a provider instance about sending requests again."""

    model_config = TABLE

    keys: list[KeyTable] = []
    max_sends: Annotated[int, pydantic.Field(ge=1, le=10)] = 1
    retry_errors: bool = False
    head_timeout_s: Annotated[int | float, pydantic.Field(gt=0, le=3600)] | None = None
    fallbacks: list[FallbackTable] = []

    def central_keys(self) -> tuple[CentralKey, ...]:
        """Return the keys of the pool."""
        return tuple(table.key() for table in self.keys)

    def resend_rules(self) -> ResendRules:
        """Return the rules of retries and fallbacks."""
        return ResendRules(
            max_sends=self.max_sends,
            retry_errors=self.retry_errors,
            head_seconds=self.head_timeout_s,
            fallbacks=tuple(table.fallback() for table in self.fallbacks),
        )
