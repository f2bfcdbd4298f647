"""What a request must fulfil to go on, beyond having a route: a token's scope, an actor, a record.

It decides, and says why; to answer and to count is `proxy.intake`'s business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from aibridge_addon.access.admission import Admission, Gate
from aibridge_addon.access.model_scope import (
    UnclearError,
    models_of_body,
    models_of_message,
    models_of_query,
)
from aibridge_addon.access.tokens import GatewayToken, TokenError
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.formats.decoders.codings import UndecodableError
from aibridge_addon.providers.identity import ANONYMOUS, PLACEHOLDER_KEY, Actor, Headers
from aibridge_addon.providers.routing import Provider
from aibridge_addon.raw_json import members

_WITHOUT_BODY = ("GET", "HEAD", "DELETE")
"""Methods whose bodies say nothing, where there is one at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends a request."""

    actor: Actor
    admission: Admission

    @property
    def headers(self) -> Headers:
        """What the request says besides its body."""
        return self.admission.headers


class Refusal(NamedTuple):
    """Why a request must not go on."""

    status: int
    """400 where asking again is of no use: agents try again after 401, 403 and 5xx."""
    reason: str
    """For records and metrics."""
    message: str
    """For the person who asked."""


class Policy:
    """Decides about requests."""

    def __init__(self, settings: Settings, *, gate: Gate, can_record: Callable[[], bool]) -> None:
        self._settings = settings
        self._gate = gate
        self._can_record = can_record

    def why_not(
        self,
        exchange: Exchange,
        sender: Sender,
        *,
        model: str | None,
        any_model: bool = False,
        said: bytes | None = None,
    ) -> Refusal | None:
        """Return why a request that would be recorded must not go on, if there is a reason.

        `any_model`: whether it names none, and none is asked for. `said`: the message over a
        WebSocket that asks, if it is not the request that opened that.
        """
        if refusal := self.why_not_by_token(
            exchange, sender, model=model, any_model=any_model, said=said
        ):
            return refusal
        if self._settings.require_actor and sender.actor.id == ANONYMOUS:
            message = "aibridge: this proxy must know who asks."
            if self._settings.actor_header:
                message += f" Name yourself in the header {self._settings.actor_header}."
            return Refusal(400, "no_actor", message)
        if self._settings.refuse_unrecorded and not self._can_record():
            message = "aibridge: requests cannot be recorded at this moment; try again later."
            return Refusal(503, "not_recorded", message)
        return None

    def refusal_of(self, admission: Admission) -> TokenError | None:
        """Return why nobody may pass so, if that is so."""
        try:
            self._gate.check(admission)
        except TokenError as error:
            return error
        return None

    def why_not_by_token(
        self,
        exchange: Exchange,
        sender: Sender,
        *,
        model: str | None,
        any_model: bool,
        said: bytes | None = None,
    ) -> Refusal | None:
        """Return why the sender's token, or the lack of one, forbids a request."""
        admission, provider = sender.admission, exchange.route.provider
        try:
            self._gate.check(admission)
            if token := admission.token:
                token.check_scope(provider=provider.name, model=model, any_model=any_model)
                if token.models and exchange.route.names_models:
                    _check_models(token, exchange, said)
            credential = exchange.credential
            if admission.as_key and credential is None:
                raise TokenError("no_central_key", _no_central_key(provider))
            if credential and credential.secret == PLACEHOLDER_KEY:
                raise TokenError("no_central_key", _no_central_key(provider))
        except TokenError as error:
            return Refusal(400, error.reason, f"aibridge: {error}")
        return None


def _check_models(token: GatewayToken, exchange: Exchange, said: bytes | None) -> None:
    """Check all models that a request or a message names.

    Raises:
        TokenError: the token is not for one of them, or they cannot be told.
    """
    path = exchange.flow.request.path
    try:
        named = models_of_message(said) if said is not None else _models_of(exchange)
        for model in [*models_of_query(path), *named]:
            token.check_scope(provider=exchange.route.provider.name, model=model)
    except UnclearError as error:
        raise token.out_of_scope(f"is for some models only; this request {error}") from error


def _models_of(exchange: Exchange) -> list[str]:
    """Return the models that the body of a request names.

    Raises:
        UnclearError: they cannot be told.
    """
    request = exchange.flow.request
    if not request.raw_content:
        return []
    try:
        # A form's fields can be made to look like JSON.
        is_form = "form" in request.headers.get("content-type", "").lower()
        body = b"" if is_form else exchange.request_body()
    except UndecodableError:
        body = b""
    if request.method in _WITHOUT_BODY and members(body) is None:
        return []
    return list(models_of_body(body))


def _no_central_key(provider: Provider) -> str:
    message = f"this proxy has no key for {provider.name}"
    if provider.api_key_env:
        message += f" ({provider.api_key_env} is not set)"
    return message + ": give your own (and a gateway token in the header X-AIBridge-Token)."
