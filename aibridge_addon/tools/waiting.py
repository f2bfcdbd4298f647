"""Waiting for several things at once, and with signs of life; whoever stops waiting ends them."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence

PING_SECONDS = 8.0
"""Between signs of life to the client; it gives up after some minutes of silence."""


async def with_pings(work: Coroutine[None, None, None], ping: bytes) -> AsyncGenerator[bytes]:
    """Do some work; give a sign of life whenever it takes long."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=PING_SECONDS))[0]:
            yield ping
        task.result()
    finally:
        await cancelled([task])


async def all_of[T](work: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Do all of it at once."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await cancelled(tasks)


async def cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Cancel what still runs, and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
