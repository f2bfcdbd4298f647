"""Guardrails: policies of the operator that ask other systems, bounded in time.

They are asked after the built-in policies have admitted a request, so that these cannot be
circumvented, and before budgets hold its charge.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal, Protocol

from aibridge_addon.access.asked import Asked, Refusal, checked

logger = logging.getLogger(__name__)

type OnFailure = Literal["refuse", "allow"]

FAILED = "guardrail_failed"


class _TooSlowError(Exception):
    """A guardrail has not decided in time."""


class Guardrail(Protocol):
    """A policy that decides with the help of others, such as a service that finds secrets."""

    async def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of a request; None lets it pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrails:
    """All guardrails of the config file, in their order."""

    policies: tuple[tuple[str, Guardrail], ...] = ()
    """Guardrails with their names."""
    timeout_s: float = 5.0
    """Time for each of them."""
    on_failure: OnFailure = "refuse"
    """The choice where a guardrail raises, or takes too long."""

    async def check(self, asked: Asked) -> Refusal | None:
        """Return the refusal of the first guardrail that refuses a request."""
        for name, guardrail in self.policies:
            if refusal := await self._ask(name, guardrail, asked):
                return refusal
        return None

    async def _ask(self, name: str, guardrail: Guardrail, asked: Asked) -> Refusal | None:
        try:
            return checked(await self._verdict(guardrail, asked))
        except _TooSlowError:
            logger.warning("aibridge: guardrail %s took longer than %s s", name, self.timeout_s)
        except Exception:
            logger.exception("aibridge: guardrail %s failed", name)
        if self.on_failure == "allow":
            return None
        return Refusal(
            status=503,
            reason=FAILED,
            message=f"aibridge: the guardrail {name} of this proxy failed. Its log has the error.",
            retry_after=10.0,
        )

    async def _verdict(self, guardrail: Guardrail, asked: Asked) -> object:
        """Return what a guardrail returns in time, whether or not it can be cancelled."""
        task: asyncio.Future[object] = asyncio.ensure_future(guardrail.check(asked))
        task.add_done_callback(_retrieve)
        try:
            await asyncio.wait({task}, timeout=self.timeout_s)
        finally:
            task.cancel()
        if not task.done():
            raise _TooSlowError
        if task.cancelled():
            raise RuntimeError("it cancelled itself")
        return task.result()


def _retrieve(task: "asyncio.Future[object]") -> None:
    """Retrieve the exception of a task, or it is logged once more when the task is collected."""
    if not task.cancelled():
        task.exception()
