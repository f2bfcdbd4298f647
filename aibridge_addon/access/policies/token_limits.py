"""Policy: the provider and model limits of an access token."""

from collections.abc import Iterator

from aibridge_addon.access.policies.asked import Asked, Refusal
from aibridge_addon.access.requested_models import (
    UnclearError,
    models_of_body,
    models_of_headers,
    models_of_message,
    models_of_path,
)
from aibridge_addon.access.tokens import TokenError
from aibridge_addon.raw_json import members

_WITHOUT_BODY = ("GET", "HEAD", "DELETE")
"""Methods whose bodies have no meaning."""


class TokenLimits:
    """Refuses provider instances and models that the limits of an access token exclude."""

    def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a provider instance or model that the limits exclude."""
        token, name = asked.sender.admission.token, asked.route.provider.name
        if token is None:
            return None
        try:
            any_model = not asked.must_name_model
            token.check_limits(provider=name, model=asked.model, any_model=any_model)
            if token.models and asked.route.names_models:
                for model in _models(asked):
                    token.check_limits(provider=name, model=model)
        except UnclearError as error:
            reason = f"is for some models only; this request {error}"
            return _refusal(token.limit_error(reason))
        except TokenError as error:
            return _refusal(error)
        return None


def _refusal(error: TokenError) -> Refusal:
    return Refusal(status=400, reason=error.reason, message=f"aibridge: {error}")


def _models(asked: Asked) -> Iterator[str]:
    yield from models_of_path(asked.method, asked.path)
    yield from models_of_headers(asked.fields)
    content = asked.content()
    if asked.is_message:
        yield from models_of_message(content or b"")
    elif content is not None and not _is_meaningless(asked.method, content):
        yield from models_of_body(content)


def _is_meaningless(method: str, body: bytes) -> bool:
    return method in _WITHOUT_BODY and members(body) is None
