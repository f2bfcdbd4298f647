"""Central keys of a provider instance, by the environment variables that hold them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DATE = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2})$|-latest$")
_CLAUDE = re.compile(r"(claude-(?:opus|sonnet|haiku)-\d+)\b.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralKey:
    """One key of the operator at a provider."""

    env: str
    """The environment variable that holds it, which names it in logs and metrics."""
    organization: str | None = None
    """Keys of the same organization share rate limits and stored state; None: it is alone."""
    weight: float = 1.0
    """Share of the conversations, relative to the other keys of the pool."""

    def secret(self, environ: Mapping[str, str]) -> str:
        """Return the key; empty if its variable is not set."""
        return environ.get(self.env, "").strip()

    def shares_organization(self, other: "CentralKey") -> bool:
        """Return whether the provider treats both keys as one customer."""
        return self == other or (
            self.organization is not None and self.organization == other.organization
        )


def model_class(model: str | None) -> str:
    """Return the name of the models that share a rate limit with this one.

    Anthropic limits all versions of a family's generation together; dated names are the same model.
    """
    name = _DATE.sub("", (model or "").lower()[:100])
    return _CLAUDE.sub(r"\1", name)
