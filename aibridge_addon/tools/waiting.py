"""Waits for coroutines; a waiter that is cancelled cancels them too."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence

PING_SECONDS = 8.0
"""Interval of pings to the client, which gives up after some minutes without data."""


async def with_pings(work: Coroutine[None, None, None], ping: bytes) -> AsyncGenerator[bytes]:
    """Run a coroutine; yield a ping after each interval until it ends."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=PING_SECONDS))[0]:
            yield ping
        task.result()
    finally:
        await cancelled([task])


async def all_of[T](work: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Run coroutines in parallel; return their results in order."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await cancelled(tasks)


async def cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Cancel the tasks that still run, and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
