"""Keeps bugs of this addon away from flows: hooks that raise are logged, and the flow continues."""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import exceptions, flow

logger = logging.getLogger(__name__)


def guarded[**P, R](hook: Callable[P, R]) -> Callable[P, R]:
    """Decorate a hook so that an exception is logged with the id of its interception."""

    def report(args: tuple[Any, ...]) -> None:
        subject = args[1] if len(args) > 1 else None
        known = subject.metadata.get if isinstance(subject, flow.Flow) else lambda name: None
        logger.exception(
            "aibridge: internal error in %s; interception %s",
            hook.__name__,
            known("aibridge_interception_id") or getattr(subject, "interception_id", "none"),
        )

    @functools.wraps(hook)
    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return hook(*args, **kwargs)
        except exceptions.AddonHalt:
            raise
        except Exception:  # noqa: BLE001 the edge
            report(args)
            return None

    @functools.wraps(hook)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await hook(*args, **kwargs)  # type: ignore[misc]
        except Exception:  # noqa: BLE001 the edge
            report(args)

    return run_async if inspect.iscoroutinefunction(hook) else run  # type: ignore[return-value]
