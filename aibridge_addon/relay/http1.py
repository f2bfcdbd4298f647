"""HTTP/1.1 connections: frames requests, limits and normalizes messages, and drops trailers.

This module depends on mitmproxy's internals (`proxy.layers.http._http1`, 12.2 and 12.3; see
docs/internals/mitmproxy.md). Its classes send HTTP/2 bodies without a length, fail at trailers,
mistake informational responses for final ones, and read heads of any size; all else is theirs.
"""

import re
from dataclasses import replace

from h11 import Data, EndOfMessage, ProtocolError, RemoteProtocolError
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    HTTPMode,
    ReceiveHttp,
    RequestHeaders,
    RequestTrailers,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._http1 import (
    Http1Client,
    Http1Server,
    make_error_response,
)

from aibridge_addon.relay.head_copies import copy_head

type Commands = layer.CommandGenerator[None]

LARGEST_REQUEST_HEAD = 64 * 1024
"""Bytes; as in HTTP/2, where the h2 library sets this limit."""
LARGEST_RESPONSE_HEAD = 256 * 1024
LARGEST_CHUNK_LINE = 4 * 1024
"""Bytes of a chunk size with its extensions."""
LARGEST_TRAILERS = 64 * 1024
_LARGEST_DISCARDED = 1024 * 1024
"""Bytes that are read and dropped after a refusal, so that the client can read the refusal."""

_HEAD_TOO_LARGE = f"The head of the request is larger than {LARGEST_REQUEST_HEAD} bytes."
_INFORMATIONAL = re.compile(rb"HTTP/\d\.\d +1(?!01)\d\d[ \r\n]")
"""The beginning of an informational response; 101 is final."""
_START_OF_HEAD = 16


class Http1ClientConnection(Http1Server):
    """The client's HTTP/1.1 connection; mitmproxy names the class after its own role."""

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Respond with 431 to a head that is too large."""
        yield from super().read_headers(event)
        if self.state == self.read_headers and len(self.buf) > LARGEST_REQUEST_HEAD:
            yield commands.SendData(self.conn, make_error_response(431, _HEAD_TOO_LARGE))
            yield commands.CloseTcpConnection(self.conn, half_close=True)
            self._discarded = 0
            self.state = self.discard

    def discard(self, event: events.ConnectionEvent) -> Commands:
        """Drop further data of a refused client, up to a limit."""
        self._discarded += len(self.buf)
        self.buf.maybe_extract_at_most(len(self.buf))
        if isinstance(event, events.ConnectionClosed) or self._discarded > _LARGEST_DISCARDED:
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def read_body(self, event: events.Event) -> Commands:
        """Read a chunked body within limits, and drop its trailers."""
        if type(self.body_reader) is ChunkedReader:
            self.body_reader = JoiningChunkedReader()
        yield from super().read_body(event)

    def send(self, event: HttpEvent) -> Commands:
        """Drop the trailers of an HTTP/2 response, which mitmproxy cannot send in HTTP/1.1."""
        if not isinstance(event, ResponseTrailers):
            yield from super().send(event)


class Http1ServerConnection(Http1Client):
    """A server's HTTP/1.1 connection."""

    def send(self, event: HttpEvent) -> Commands:
        """Frame a request, and drop its trailers, which mitmproxy cannot send in HTTP/1.1."""
        if isinstance(event, RequestTrailers):
            return
        if isinstance(event, RequestHeaders):
            server = self.context.server
            is_proxy = server.via is not None and not server.tls
            request = framed(event.request, has_body=not event.end_stream, absolute=is_proxy)
            event = replace(event, request=request)
        yield from super().send(event)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Skip informational responses, and fail at a head that is too large."""
        if self.request:
            self._skip_informational()
        yield from super().read_headers(event)
        if self.stream_id and self.response is None and len(self.buf) > LARGEST_RESPONSE_HEAD:
            yield commands.CloseConnection(self.conn)
            message = f"The head of the response is larger than {LARGEST_RESPONSE_HEAD} bytes."
            code = ErrorCode.GENERIC_SERVER_ERROR
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, message, code))
            self.state = self.done

    def _skip_informational(self) -> None:
        while _INFORMATIONAL.match(bytes(self.buf)[:_START_OF_HEAD]):
            if self.buf.maybe_extract_lines() is None:
                return

    def read_body(self, event: events.Event) -> Commands:
        """Read a chunked body within limits, and drop its trailers."""
        if type(self.body_reader) is ChunkedReader:
            self.body_reader = JoiningChunkedReader()
        yield from super().read_body(event)


def use_in_mitmproxy() -> None:
    """Make mitmproxy's HTTP layers create these connections instead of its own."""
    http_layers.Http1Server = Http1ClientConnection  # type: ignore[misc]
    http_layers.Http1Client = Http1ServerConnection  # type: ignore[misc]


# Framing


def framed(request: http.Request, *, has_body: bool, absolute: bool = False) -> http.Request:
    """Return the head of a request as it must be sent upstream in HTTP/1.1.

    Either `content-length` or `transfer-encoding` frames a body, whatever the client sent. The
    target is in origin form, unless the server is a proxy that needs the `absolute` form.
    """
    result = copy_head(request)
    result.data.headers = request.headers.copy()
    if request.is_http2 or request.is_http3:
        _use_authority_as_host(result)
        result.headers.pop("transfer-encoding", None)
    elif not absolute:
        result.data.authority = b""
    _set_length(result, has_body=has_body)
    return result


def _use_authority_as_host(request: http.Request) -> None:
    """Set `Host` to `:authority`, by which the request was routed."""
    hosts = request.headers.get_all("host")
    if hosts and request.authority and hosts != [request.authority]:
        request.headers["host"] = request.authority


def _set_length(request: http.Request, *, has_body: bool) -> None:
    headers, content = request.headers, request.data.content
    if "chunked" in headers.get("transfer-encoding", "").lower():  # mitmproxy sends it chunked
        headers.pop("content-length", None)
        return
    headers.pop("transfer-encoding", None)
    announced = headers.get_all("content-length")
    if content is None:
        if has_body and len(announced) != 1:  # it is streamed, and its length is unknown
            headers.pop("content-length", None)
            headers["transfer-encoding"] = "chunked"
    elif (has_body or announced) and announced != [str(len(content))]:
        headers["content-length"] = str(len(content))


# Malformed heads

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"/[^\x00-\x20\x7f]*|\*")
_UNSAFE_IN_VALUE = re.compile(rb"[\r\n\x00]")
_FOLD = b"\r\n "
"""The separator with which mitmproxy joins the lines of a folded value."""


def unfold(request: http.Request) -> None:
    """Join each header value that spans several lines into a single line (RFC 9112, 5.2)."""
    fields = request.headers.fields
    if any(_FOLD in value for _, value in fields):
        unfolded = tuple((name, value.replace(_FOLD, b" ")) for name, value in fields)
        request.headers.fields = unfolded


def malformed(mode: HTTPMode, request: http.Request) -> str | None:
    """Return the reason why a server might parse the head of a request differently, if any."""
    for name, value in request.headers.fields:
        if _UNSAFE_IN_VALUE.search(value):
            shown = name.decode("ascii", "backslashreplace")
            return f"The header {shown} contains a carriage return, line feed or null character."
    if not _TOKEN.fullmatch(request.data.method):
        return "The request method is not valid."
    is_connect = request.method == "CONNECT" and mode is not HTTPMode.transparent
    if not (is_connect or _TARGET.fullmatch(request.data.path)):
        return "The request target is not valid."
    return None


# Reading


class _BoundedChunkedReader(ChunkedReader):
    """Reads a chunked body; limits the size of chunk lines and trailers, and drops trailers."""

    def __call__(self, buf: ReceiveBuffer) -> Data | EndOfMessage | None:
        """Read the next piece of the body.

        Raises:
            RemoteProtocolError: a line is longer than allowed.
        """
        event = super().__call__(buf)
        limit = LARGEST_TRAILERS if self._reading_trailer else LARGEST_CHUNK_LINE
        if event is None and len(buf) > limit:  # the buffer holds an unfinished line
            raise RemoteProtocolError(f"chunk size or trailers larger than {limit} bytes")
        return EndOfMessage() if isinstance(event, EndOfMessage) else event


class JoiningChunkedReader(_BoundedChunkedReader):
    """Joins the chunks that have arrived: each piece costs an event in every layer of mitmproxy."""

    _last: EndOfMessage | ProtocolError | None = None
    """The end or the fault that follows the pieces that were joined."""

    @property
    def is_at_border(self) -> bool:
        """True if all that was read are whole chunks, none of them the last."""
        inside = self._bytes_in_chunk or self._bytes_to_discard or self._reading_trailer
        return not inside and self._last is None

    def __call__(self, buf: ReceiveBuffer) -> Data | EndOfMessage | None:
        """Read the part of the body that has arrived; report its end in a call of its own.

        Raises:
            ProtocolError: the body is malformed; all that precedes the fault has been read.
        """
        if self._last:
            return self._end()
        pieces: list[bytes | bytearray] = []
        event: EndOfMessage | ProtocolError | None
        try:
            while isinstance(read := self._read_whole(buf) or super().__call__(buf), Data):
                pieces.append(read.data)
            event = read
        except ProtocolError as error:
            event = error
        self._last = event
        return Data(data=b"".join(pieces)) if pieces else self._end()

    def _end(self) -> EndOfMessage | None:
        if isinstance(self._last, ProtocolError):
            raise self._last
        return self._last

    def _read_whole(self, buf: ReceiveBuffer) -> Data | None:
        """Read a run of whole chunks at once; anything else is left to h11."""
        if not self.is_at_border:
            return None
        pieces, size = whole_chunks(buf._data)
        if not pieces:
            return None
        buf.maybe_extract_at_most(size)
        return Data(data=b"".join(pieces))


_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
"""Stricter than the standard, since `int` also reads `0x1f`, `1_0` and ` 5`."""
_CHUNK_END = b"\r\n"
_FEW_BYTES = 1024
"""In which chunks are found faster one by one."""
_MOST_DIGITS = 8
_MOST_SIZES = 4096
"""Sizes that are remembered; further ones are read each time."""


class _ChunkSizes(dict[bytes, int]):
    """Sizes of chunks by their text; -1 for a text that is not the size of a whole chunk."""

    def __missing__(self, text: bytes) -> int:
        size = int(text, 16) if _CHUNK_SIZE.fullmatch(text + _CHUNK_END) else 0
        if len(text) <= _MOST_DIGITS and len(self) < _MOST_SIZES:
            self[text] = size or -1
        return size or -1


_chunk_sizes = _ChunkSizes()


def whole_chunks(data: bytes | bytearray) -> tuple[list[bytes], int]:
    """Return the contents of the whole chunks at the beginning of data, and their total size.

    Chunks with extensions, the last chunk and malformed ones are not included.
    """
    data = bytes(data)
    pieces, position = _chunks_of_lines(data) if len(data) > _FEW_BYTES else ([], 0)
    while (found := _CHUNK_SIZE.match(data, position)) and (size := int(found[1], 16)):
        start = found.end()
        end = start + size
        if data[end : end + len(_CHUNK_END)] != _CHUNK_END:
            break
        pieces.append(data[start:end])
        position = end + len(_CHUNK_END)
    return pieces, position


def _chunks_of_lines(data: bytes) -> tuple[list[bytes], int]:
    """Return the whole chunks at the beginning of data whose contents have no line break.

    Lines are sizes and contents in turn, and nearly all contents of streams are such lines.
    """
    lines = data.split(_CHUNK_END)
    pieces = lines[1:-1:2]
    sizes = lines[: 2 * len(pieces) : 2]
    announced = list(map(_chunk_sizes.__getitem__, sizes))
    lengths = list(map(len, pieces))
    if announced != lengths:
        count = next(at for at, size in enumerate(announced) if size != lengths[at])
        del pieces[count:], sizes[count:], lengths[count:]
    return pieces, sum(map(len, sizes)) + sum(lengths) + 2 * len(_CHUNK_END) * len(sizes)
