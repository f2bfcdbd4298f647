"""How much an MCP server may send: beyond it, an answer is refused before it fills the memory."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

from aibridge_addon.formats.decoders.codings import ContentDecoder, UndecodableError

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of one message, once decoded: a JSON body, an event, or a line."""
TOO_LARGE = f"it sent a message of more than {MAX_MESSAGE_BYTES // 2**20} MiB"


class MessageTooLargeError(ValueError):
    """A message is larger than the bound, or is not of its coding."""


async def decoded(
    chunks: AsyncIterable[bytes], coding: str, *, max_bytes: int
) -> AsyncGenerator[bytes]:
    """Decode a body as it comes.

    Raises:
        MessageTooLargeError: it is larger than the bound, or cannot be decoded.
    """
    try:
        decoder = ContentDecoder(coding, max_bytes=max_bytes)
        async for chunk in chunks:
            if data := decoder.feed(chunk):
                yield data
    except UndecodableError as error:
        raise MessageTooLargeError(str(error)) from error


async def whole(chunks: AsyncIterable[bytes], coding: str) -> bytes:
    """Return a body that is one message.

    Raises:
        MessageTooLargeError: it is larger than the bound, or cannot be decoded.
    """
    body = bytearray()
    async for data in decoded(chunks, coding, max_bytes=MAX_MESSAGE_BYTES):
        body += data
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(TOO_LARGE)
    return bytes(body)


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Give the lines of a stream as they end; what has no line end is none.

    Raises:
        MessageTooLargeError: a line is larger than the bound.
    """
    begun: list[bytes] = []
    size = 0
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(TOO_LARGE)
        if others:
            *ended, rest = others
            yield b"".join(begun)
            for line in ended:
                yield line
            begun, size = [rest], len(rest)
