"""Policy: the provider and model limits of an access token."""

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.named_models import models_of
from aibridge_addon.access.requested_models import UnclearError
from aibridge_addon.access.tokens import TokenError


class TokenLimits:
    """Refuses provider instances and models that the limits of an access token exclude."""

    is_constant = True

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a provider instance or model that the limits exclude."""
        token, name = asked.sender.admission.token, asked.route.provider.name
        if token is None:
            return None
        try:
            any_model = not asked.must_name_model
            token.check_limits(provider=name, model=asked.model, any_model=any_model)
            if token.models and asked.route.names_models:
                for model in models_of(asked):
                    token.check_limits(provider=name, model=model)
        except UnclearError as error:
            reason = f"is for some models only; this request {error}"
            return _refusal(token.limit_error(reason))
        except TokenError as error:
            return _refusal(error)
        return None


def _refusal(error: TokenError) -> Refusal:
    return Refusal(status=400, reason=error.reason, message=f"aibridge: {error}")
