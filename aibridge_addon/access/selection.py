"""`Selection`: the requests that a rule of the config file is for. Pure."""

from dataclasses import dataclass

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.named_models import models_of
from aibridge_addon.access.requested_models import UnclearError
from aibridge_addon.patterns import matches_any, matches_any_spelling
from aibridge_addon.providers.identity import Actor

type Patterns = tuple[str, ...]
"""Names or shell patterns; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Shell patterns that all must match: an empty list matches everything."""

    actors: Patterns = ()
    teams: Patterns = ()
    models: Patterns = ()
    providers: Patterns = ()
    """Provider instances."""
    clients: Patterns = ()

    def matches(self, asked: Asked) -> bool:
        """Return whether a rule is for a request."""
        interception = asked.interception
        return (
            self.is_for(asked.sender.actor)
            and self._is_for_models(asked)
            and matches_any(asked.route.provider.name, self.providers)
            and matches_any(interception.client if interception else None, self.clients)
        )

    def is_for(self, actor: Actor) -> bool:
        """Return whether a rule is for requests of an actor."""
        return matches_any(actor.id, self.actors) and self._is_of_team(actor)

    def _is_for_models(self, asked: Asked) -> bool:
        """Return whether the requested model is selected, or any that a batch names."""
        if matches_any_spelling(asked.model, self.models):
            return True
        if asked.model is not None and not asked.route.bills_later:
            return False
        try:
            return any(matches_any_spelling(model, self.models) for model in models_of(asked))
        except UnclearError:
            return True

    def _is_of_team(self, actor: Actor) -> bool:
        return not self.teams or any(matches_any(team, self.teams) for team in actor.teams)
