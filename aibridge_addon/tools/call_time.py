"""The time of a call: so long without a sign of progress, and so long in all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class CallTimeoutError(Exception):
    """A call has taken too long."""

    def __init__(self, seconds: float, *, in_all: bool) -> None:
        suffix = " in all" if in_all else ""
        super().__init__(f"no answer within {seconds:g} seconds{suffix}; the call was cancelled")


@asynccontextmanager
async def call_time(seconds: float, *, in_all: float) -> AsyncIterator[Callable[[], None]]:
    """Bound what is done within; give what is to be called at each sign of progress.

    Raises:
        CallTimeoutError: it took longer.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + in_all
    try:
        async with asyncio.timeout(min(seconds, in_all)) as limit:

            def renew() -> None:
                with suppress(RuntimeError):  # it has ended
                    limit.reschedule(min(loop.time() + seconds, ends_at))

            yield renew
    except TimeoutError:
        is_over = seconds < in_all and loop.time() >= ends_at
        raise CallTimeoutError(in_all if is_over else seconds, in_all=is_over) from None
