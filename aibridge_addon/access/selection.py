"""`Selection`: the requests that a rule of the config file is for. Pure."""

from dataclasses import dataclass

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.named_models import models_of
from aibridge_addon.access.requested_models import UnclearError
from aibridge_addon.patterns import matches_any, matches_any_spelling
from aibridge_addon.providers.identity import Actor

type Patterns = tuple[str, ...]
"""Names or shell patterns; empty: all."""
type OtherModels = frozenset[str] | None
"""Models that a request names beside the requested one; None: any model may serve it."""

NO_OTHER_MODELS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Shell patterns that all must match: an empty list matches everything."""

    actors: Patterns = ()
    teams: Patterns = ()
    models: Patterns = ()
    providers: Patterns = ()
    """Provider instances."""
    clients: Patterns = ()

    def matches(self, asked: Asked, others: OtherModels = NO_OTHER_MODELS) -> bool:
        """Return whether a rule is for a request, by the requested model or one of the others."""
        client = asked.interception.client if asked.interception else None
        return self._is_for_models(asked.model, others) and self.is_for_some_model(
            asked.sender.actor, asked.route.provider.name, client
        )

    def is_for_some_model(self, actor: Actor, provider: str, client: str | None) -> bool:
        """Return whether a rule is for requests of an actor's client to a provider instance."""
        return (
            self.is_for(actor)
            and matches_any(provider, self.providers)
            and matches_any(client, self.clients)
        )

    def is_for(self, actor: Actor) -> bool:
        """Return whether a rule is for requests of an actor."""
        return matches_any(actor.id, self.actors) and self._is_of_team(actor)

    def _is_for_models(self, model: str | None, others: OtherModels) -> bool:
        if others is None or matches_any_spelling(model, self.models):
            return True
        return any(matches_any_spelling(other, self.models) for other in others)

    def _is_of_team(self, actor: Actor) -> bool:
        return not self.teams or any(matches_any(team, self.teams) for team in actor.teams)


def other_models(asked: Asked) -> OtherModels:
    """Return the models that a request names anywhere, without the one that an alias replaces.

    Any model may serve a request that names none, such as a batch whose requests are in a file, and
    one that can be read in two ways.
    """
    requested = asked.interception.model if asked.interception else asked.model
    try:
        named = frozenset(models_of(asked))
    except UnclearError:
        return None
    if not named and asked.model is None and asked.must_name_model:
        return None
    return named - {asked.model, requested}
