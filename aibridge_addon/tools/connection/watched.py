"""A transport that reports its messages and its end, which a session of `mcp` does not report."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any


class Watched:
    """A transport's read stream that reports each message, and its end."""

    def __init__(
        self, stream: Any, on_message: Callable[[Any], None], on_end: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._on_message = on_message
        self._on_end = on_end

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        message = await self._stream.receive()
        self._on_message(message)
        return message

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> "Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            message = await self._stream.__anext__()
        except StopAsyncIteration:
            self._on_end()
            raise
        self._on_message(message)
        return message

    async def __aenter__(self) -> "Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        closed: bool | None = await self._stream.__aexit__(*exc_info)
        return closed


@asynccontextmanager
async def watched(
    transport: AbstractAsyncContextManager[Any],
    *,
    on_message: Callable[[Any], None],
    on_end: Callable[[], None],
) -> AsyncIterator[tuple[Any, Any]]:
    async with transport as (read, write):
        yield Watched(read, on_message, on_end), write
