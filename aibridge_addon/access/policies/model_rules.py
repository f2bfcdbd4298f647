"""Policy: the models that the config file allows and denies (`[[model_rules]]`)."""

from dataclasses import replace

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.model_rule import ModelRule, ModelRuleTable
from aibridge_addon.access.named_models import models_of
from aibridge_addon.access.requested_models import UnclearError
from aibridge_addon.providers.types import MODEL
from aibridge_addon.raw_json import member, members, text


class ModelRules:
    """Refuses models that a rule for the sender does not allow, wherever a request names them."""

    is_constant = True

    def __init__(self, rules: tuple[ModelRule, ...]) -> None:
        self._rules = ModelRuleTable(rules)
        self._restricting = [rule.selection for rule in rules if rule.allow or rule.deny]

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a model that a rule does not allow; aliases are applied before.

        An alias replaces the requested model only: not those in a batch, and no second ones.
        """
        if not self._may_restrict(asked) or not asked.route.names_models:
            return None
        try:
            named = dict.fromkeys(models_of(asked))
        except UnclearError as error:
            if not self._rules.applied_to(replace(asked, model=None)).restrict_models:
                return None
            return _refusal(f"this proxy allows some models only; this request {error}.")
        if asked.model is not None:
            named[asked.model] = None
        if not named and asked.must_name_model and self._rules.applied_to(asked).restrict_models:
            return _refusal("this proxy allows some models only; this request names none.")
        replaced = _replaced_model(asked)
        for model in named:
            of_model = asked if model == asked.model else replace(asked, model=model)
            rules = self._rules.applied_to(of_model)
            sent = rules.sent(model) if model == replaced else model
            if not rules.allow(sent):
                return _refusal(f"the model {sent!r} is not allowed for {asked.sender.actor.id}.")
        return None

    def _may_restrict(self, asked: Asked) -> bool:
        """Return False if no rule restricts the sender, before the request's models are read."""
        return any(selection.is_for(asked.sender.actor) for selection in self._restricting)


def _replaced_model(asked: Asked) -> str | None:
    """Return the model that an alias would replace, in the request or message."""
    if asked.model is None and asked.is_message:
        return text(member(members(asked.content() or b"") or {}, MODEL))
    return asked.model


def _refusal(message: str) -> Refusal:
    return Refusal(status=400, reason="model_not_allowed", message=f"aibridge: {message}")
