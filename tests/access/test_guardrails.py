"""Guardrails: order, time limit, and failures."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from access.policies.test_browser_origin import ASKED

from aibridge_addon.access.guardrails import Guardrails
from aibridge_addon.access.policies import Asked, Refusal

NO = Refusal(status=400, reason="no", message="no")


class Guardrail:
    """A guardrail whose decision a test writes."""

    def __init__(self, decide: Callable[[], Awaitable[Refusal | None]]) -> None:
        self._decide = decide
        self.asked: list[Asked] = []

    async def check(self, asked: Asked) -> Refusal | None:
        """Decide."""
        self.asked.append(asked)
        return await self._decide()


async def allow() -> Refusal | None:
    return None


async def refuse() -> Refusal | None:
    return NO


async def fail() -> Refusal | None:
    raise RuntimeError("no service")


async def hang() -> Refusal | None:
    await asyncio.Event().wait()
    return None


async def hang_on() -> Refusal | None:
    """Ignore being cancelled, once."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()
    return None


async def cancel_itself() -> Refusal | None:
    raise asyncio.CancelledError


async def time_out() -> Refusal | None:
    raise TimeoutError


def nonsense(verdict: Any) -> Callable[[], Awaitable[Refusal | None]]:
    """Return a guardrail that decides so."""

    async def decide() -> Any:
        return verdict

    return decide


SUCCESS = Refusal(status=200, reason="no", message="no")


def guardrails(*decide: Callable[[], Awaitable[Refusal | None]], **values: Any) -> Guardrails:
    policies = tuple((function.__name__, Guardrail(function)) for function in decide)
    return Guardrails(policies=policies, **values)


async def test_first_refusal_counts_and_later_guardrails_are_not_asked() -> None:
    subject = guardrails(allow, refuse, allow)
    assert await subject.check(ASKED) == NO
    asked = [guardrail.asked for _, guardrail in subject.policies]  # type: ignore[attr-defined]
    assert asked == [[ASKED], [ASKED], []]


NONSENSE: tuple[Any, ...] = (True, "no", 400, {"status": 400}, [], SUCCESS)
BROKEN: list[Callable[[], Awaitable[Refusal | None]]] = [fail, hang, hang_on, cancel_itself]
BROKEN += [time_out, *map(nonsense, NONSENSE)]


@pytest.mark.parametrize("broken", BROKEN)
async def test_guardrail_that_fails_or_hangs_refuses_or_allows_as_configured(
    broken: Callable[[], Awaitable[Refusal | None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    refusal = await guardrails(broken, timeout_s=0.01).check(ASKED)
    assert refusal
    assert (refusal.status, refusal.reason) == (503, "guardrail_failed")
    assert refusal.headers["retry-after"] == "10"
    assert f"guardrail {broken.__name__}" in caplog.text
    assert await guardrails(broken, timeout_s=0.01, on_failure="allow").check(ASKED) is None


async def test_guardrail_after_one_that_failed_open_is_still_asked() -> None:
    subject = guardrails(fail, refuse, on_failure="allow")
    assert await subject.check(ASKED) == NO
