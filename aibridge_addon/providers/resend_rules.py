"""Rules of a provider instance for sending a request again: retries, and other instances. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Another provider instance, for requests that this one does not serve."""

    provider: str
    """Name of the instance."""
    models: Mapping[str, str]
    """Its name of each model; requests for other models do not fall back."""
    on: frozenset[str]
    """Kinds of failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendRules:
    """When a request is sent again, before its client has received a byte."""

    max_sends: int = 1
    """Sends of a request that meets an overloaded or unreachable provider; 1: no retry."""
    retry_errors: bool = False
    """True if a status such as 500 is retried like an overload."""
    head_seconds: float | None = None
    """Time for the head of a response, after which the provider counts as unreachable."""
    fallbacks: tuple[Fallback, ...] = field(default=())
    """In their order."""

    @property
    def retries(self) -> bool:
        """True if a request may be sent again to the same instance, or to another one."""
        return self.max_sends > 1 or bool(self.fallbacks)


NO_RESENDS = ResendRules()
"""The rules of an instance that is not configured otherwise."""
