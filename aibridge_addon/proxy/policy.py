"""What a request must fulfil to go on, beyond having a route: a token's scope, an actor, a record.

It decides, and says why; to answer and to count is `proxy.intake`'s business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from aibridge_addon.identity import ANONYMOUS, Actor, Headers
from aibridge_addon.proxy.exchange import Exchange
from aibridge_addon.proxy.gate import Admission, Gate
from aibridge_addon.routing import Provider
from aibridge_addon.settings import Settings
from aibridge_addon.tokens import TokenError


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
        self, exchange: Exchange, sender: Sender, *, model: str | None, any_model: bool = False
    ) -> Refusal | None:
        """Return why a request that would be recorded must not go on, if there is a reason.

        `any_model`: whether it names none, and none is asked for.
        """
        if refusal := self.why_not_by_token(exchange, sender, model=model, any_model=any_model):
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

    def why_not_by_token(
        self, exchange: Exchange, sender: Sender, *, model: str | None, any_model: bool
    ) -> Refusal | None:
        """Return why the sender's token, or the lack of one, forbids a request."""
        admission, provider = sender.admission, exchange.route.provider
        try:
            self._gate.check(admission)
            if admission.as_key and exchange.credential is None:
                raise TokenError("no_central_key", _no_central_key(provider))
            if admission.token:
                admission.token.check_scope(
                    provider=provider.name, model=model, any_model=any_model
                )
        except TokenError as error:
            return Refusal(400, error.reason, f"aibridge: {error}")
        return None


def _no_central_key(provider: Provider) -> str:
    message = f"this proxy has no key for {provider.name}"
    if provider.api_key_env:
        message += f" ({provider.api_key_env} is not set)"
    return message + ": give your own, and the gateway token in the header X-AIBridge-Token."
