"""`MatchingRules`: the rules of a table in the config file that are for a request. Pure.

Most requests are like an earlier one, so that the rules are looked up and not matched again.
"""

from collections.abc import Iterable
from typing import Protocol

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.selection import (
    NO_OTHER_MODELS,
    OtherModels,
    Selection,
    other_models,
)

_MOST_KNOWN = 1_000
"""Number of kinds of requests that are known at the same time: clients choose most values."""
_LONGEST_KNOWN = 512
"""Length of a model or an actor above which nothing is remembered."""
_ALL = Selection()


class Selecting(Protocol):
    """A rule for some requests."""

    @property
    def selection(self) -> Selection:
        """The requests that the rule is for."""


type _Kind = tuple[str, tuple[str, ...], str | None, str, str | None]
"""Everything about a request that a selection looks at: its actor, the actor's teams, and its
model, provider instance and client."""


class MatchingRules[Rule: Selecting]:
    """Finds the rules for a request; made anew for other settings."""

    def __init__(self, rules: Iterable[Rule], *, by_every_model: bool = False) -> None:
        """Prepare the rules.

        Args:
            rules: in their order.
            by_every_model: A rule for some models is for each request that names one of them
                anywhere; otherwise the requested model decides, and in a batch each model.
        """
        self.all = tuple(rules)
        self._by_every_model = by_every_model
        selections = [rule.selection for rule in self.all]
        self._is_for_all = all(selection == _ALL for selection in selections)
        self._selects_models = any(selection.models for selection in selections)
        self._selects_teams = any(selection.teams for selection in selections)
        self._known: dict[_Kind, tuple[Rule, ...]] = {}

    def of(self, asked: Asked) -> tuple[Rule, ...]:
        """Return the rules for a request, in their order."""
        if self._is_for_all:
            return self.all
        others = self._other_models(asked)
        kind = None if others is None or others else self._kind_of(asked)
        found = self._known.get(kind) if kind else None
        if found is None:
            found = tuple(rule for rule in self.all if rule.selection.matches(asked, others))
            if kind:
                self._remember(kind, found)
        return found

    def _other_models(self, asked: Asked) -> OtherModels:
        if not self._selects_models:
            return NO_OTHER_MODELS
        if self._by_every_model or asked.model is None or asked.route.bills_later:
            return other_models(asked)
        return NO_OTHER_MODELS

    def _kind_of(self, asked: Asked) -> _Kind | None:
        """Return the kind of a request; None for one that must be matched itself."""
        actor, model, interception = asked.sender.actor, asked.model, asked.interception
        if len(actor.id) + len(model or "") > _LONGEST_KNOWN:
            return None
        return (
            actor.id,
            actor.teams if self._selects_teams else (),
            model,
            asked.route.provider.name,
            interception.client if interception else None,
        )

    def _remember(self, kind: _Kind, found: tuple[Rule, ...]) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[kind] = found
