"""`ModelRule`: a row of `[[model_rules]]`. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.matching_rules import MatchingRules
from aibridge_addon.access.selection import Patterns, Selection
from aibridge_addon.patterns import matches_any, matches_any_spelling
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import MODEL, OWN_MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule:
    """The models that some senders may use, and changes to their requests."""

    selection: Selection
    """The requests that the rule is for; its models are those that clients request."""
    allow: Patterns = ()
    """Models that may be used; empty: all."""
    deny: Patterns = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The model that is sent in place of a requested one."""
    max_output_tokens: int | None = None
    """The ceiling of the output tokens that a request sets as its limit."""

    def allows(self, model: str | None) -> bool:
        """Return whether the rule allows a model; an unknown one only if all are allowed."""
        if self.deny and matches_any_spelling(model, self.deny):
            return False
        return matches_any(model, self.allow)


@dataclass(frozen=True, slots=True)
class AppliedRules:
    """The rules for a request; all of them apply."""

    rules: tuple[ModelRule, ...]

    provider: Provider

    def sent(self, model: str | None) -> str | None:
        """Return the model to send in place of a requested one; the first alias wins.

        An alias may name a deployment, which the provider instance maps to its model.
        """
        if model is None:
            return None
        for rule in self.rules:
            if model in rule.aliases:
                return self.provider.model_of(rule.aliases[model])
        return self.provider.model_of(model)

    def alias(self, model: str | None) -> str | None:
        """Return the model that is sent in place of a requested one; None if that is sent."""
        sent = self.sent(model)
        return None if sent == model else sent

    @property
    def restrict_models(self) -> bool:
        """True if there are models that a rule does not allow."""
        return any(rule.allow or rule.deny for rule in self.rules)

    def allow(self, model: str | None) -> bool:
        """Return whether all rules allow a model that is sent."""
        return all(rule.allows(model) for rule in self.rules)

    @property
    def output_ceiling(self) -> int | None:
        """The smallest ceiling of the output tokens; None if no rule sets one."""
        ceilings = [r.max_output_tokens for r in self.rules if r.max_output_tokens is not None]
        return min(ceilings, default=None)


class ModelRuleTable:
    """All model rules of the config file."""

    def __init__(self, rules: Iterable[ModelRule]) -> None:
        self._rules = MatchingRules(rules)

    def __bool__(self) -> bool:
        return bool(self._rules.all)

    def applied_to(self, asked: Asked) -> AppliedRules:
        """Return the rules for a request.

        Aliases cannot apply to a request that is not read, nor to one that its client has signed,
        nor to a model of the customer's own in the path, nor to the requests in a batch.
        """
        found, route = self._rules.of(asked), asked.route
        path_values = route.path_values
        is_own = not OWN_MODELS.isdisjoint(path_values)
        is_batch = route.bills_later and MODEL not in path_values
        if asked.is_signed or is_own or is_batch or not route.is_read:
            found = tuple(replace(rule, aliases={}) for rule in found)
        return AppliedRules(found, route.provider)
