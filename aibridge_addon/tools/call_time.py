"""Time limits of a call: without progress, and in total."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class CallTimeoutError(Exception):
    """A call has exceeded a time limit."""

    def __init__(self, seconds: float, *, in_all: bool) -> None:
        suffix = " in all" if in_all else ""
        super().__init__(f"no answer within {seconds:g} seconds{suffix}; the call was cancelled")


@asynccontextmanager
async def call_time(seconds: float, *, in_all: float) -> AsyncIterator[Callable[[], None]]:
    """Limit the duration of the block; yield a function to call at each progress report.

    Args:
        seconds: limit without progress.
        in_all: limit in total.

    Raises:
        CallTimeoutError: a limit was exceeded.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + in_all
    try:
        async with asyncio.timeout(min(seconds, in_all)) as limit:

            def renew() -> None:
                with suppress(RuntimeError):  # the block has ended
                    limit.reschedule(min(loop.time() + seconds, ends_at))

            yield renew
    except TimeoutError:
        is_over = seconds < in_all and loop.time() >= ends_at
        raise CallTimeoutError(in_all if is_over else seconds, in_all=is_over) from None
