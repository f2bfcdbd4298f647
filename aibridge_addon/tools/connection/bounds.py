"""Size limits for messages of MCP servers, applied before a message fills the memory."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

from aibridge_addon.formats.decoders.codings import ContentDecoder, UndecodableError

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Limit of one decoded message: a JSON body, an event, or a line."""
TOO_LARGE = f"it sent a message of more than {MAX_MESSAGE_BYTES // 2**20} MiB"


class MessageTooLargeError(ValueError):
    """A message is too large, or does not have the announced content coding."""


async def decoded(
    chunks: AsyncIterable[bytes], coding: str, *, max_bytes: int
) -> AsyncGenerator[bytes]:
    """Yield a body decoded, chunk by chunk.

    Raises:
        MessageTooLargeError: the body is too large, or cannot be decoded.
    """
    try:
        decoder = ContentDecoder(coding, max_bytes=max_bytes)
        async for chunk in chunks:
            if data := decoder.feed(chunk):
                yield data
    except UndecodableError as error:
        raise MessageTooLargeError(str(error)) from error


async def complete(chunks: AsyncIterable[bytes], coding: str) -> bytes:
    """Return a complete body that is one message.

    Raises:
        MessageTooLargeError: the body is too large, or cannot be decoded.
    """
    body = bytearray()
    async for data in decoded(chunks, coding, max_bytes=MAX_MESSAGE_BYTES):
        body += data
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(TOO_LARGE)
    return bytes(body)


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, without their ends; an unterminated last line is dropped.

    Raises:
        MessageTooLargeError: a line is too large.
    """
    pieces: list[bytes] = []
    size = 0
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        pieces.append(first)
        size += len(first)
        if size > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(TOO_LARGE)
        if others:
            *ended, rest = others
            yield b"".join(pieces)
            for line in ended:
                yield line
            pieces, size = [rest], len(rest)
