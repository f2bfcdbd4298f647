"""Policy: the models that the config file allows and denies (`[[model_rules]]`)."""

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.model_rule import ModelRule, rules_for
from aibridge_addon.access.policies.named_models import models_of
from aibridge_addon.access.requested_models import UnclearError


class ModelRules:
    """Refuses models that a rule for the sender does not allow, wherever a request names them."""

    is_constant = True

    def __init__(self, rules: tuple[ModelRule, ...]) -> None:
        self._rules = rules

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a model that a rule does not allow; aliases are applied before."""
        rules = rules_for(self._rules, asked)
        if not rules.restrict_models or not asked.route.names_models:
            return None
        try:
            named = dict.fromkeys(models_of(asked))
        except UnclearError as error:
            return _refusal(f"this proxy allows some models only; this request {error}.")
        if asked.model is not None:
            named[asked.model] = None
        if not named and asked.must_name_model:
            return _refusal("this proxy allows some models only; this request names none.")
        for model in named:
            if not rules.allow(sent := rules.sent(model)):
                return _refusal(f"the model {sent!r} is not allowed for {asked.sender.actor.id}.")
        return None


def _refusal(message: str) -> Refusal:
    return Refusal(status=400, reason="model_not_allowed", message=f"aibridge: {message}")
