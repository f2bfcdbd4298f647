"""Reads the text fields of `multipart/form-data` (RFC 7578); of files, their size. Sans-io.

Strict: a form that another parser might read in another way is not read at all, so that a policy
never judges other fields than the provider sees. Nothing of a file is copied.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aibridge_addon.formats.audio import WAVE_HEAD, wave_rate
from aibridge_addon.raw_json import JSON, encode

_CHARSET = r'(?:; *charset="?utf-8"?)?'
_BOUNDARY = re.compile(
    rf"multipart/form-data{_CHARSET}; *boundary="
    rf"""(?:([\w'()+,./:=?-]{{1,70}})|"([\w'()+,./:=? -]{{1,70}})"){_CHARSET}""",
    re.IGNORECASE,
)
_TOKEN = rb"[^\s\"\\%;=,()<>@:/?{}]+"
"""A name without quotes, as .NET sends it."""
_DISPOSITION = re.compile(
    rb'content-disposition: *form-data; *name=(?:"([^"\\%\r\n]*)"|(' + _TOKEN + rb"))"
    rb'(; *filename=(?:"([^"\r\n]*)"|(' + _TOKEN + rb'))(?:; *filename\*=[^"\r\n;]*)?'
    rb'|; *filename\*=[^"\r\n;]*)?',
    re.IGNORECASE,
)
_TYPE = re.compile(rb"content-type: *([^\r\n]*)", re.IGNORECASE)
_IGNORED = re.compile(
    rb"content-length: *\d+|content-transfer-encoding: *(?:7bit|8bit|binary)", re.IGNORECASE
)
_UTF8 = re.compile(rb'[^;]*(?:; *charset="?utf-8"?)?', re.IGNORECASE)
_LIKE_ASCII = re.compile(
    rb'[^;]*; *charset="?(?:us-ascii|iso-8859-1|windows-1252)"?', re.IGNORECASE
)
"""Charsets in which plain ASCII is the same text; Apache's client for Java names one by default."""
_ENDS = (b"", b"\r\n", b"\r\n\r\n")
"""Ends of forms; Ruby's has an empty line."""
_MOST_PARTS = 256
_LONGEST_HEAD = 4096
_LONGEST_TEXT = 256 * 1024
"""Bytes of a text field."""


class UnreadableFormError(ValueError):
    """A form could be read in more than one way, or has too many or too large fields."""


class _Part(NamedTuple):
    name: str
    value: JSON
    """A text; of a file its name, media type and size, and of a WAV file its bytes per second."""
    start: int
    end: int
    """Position of the content in the body."""


def is_form(content_type: str) -> bool:
    """Return True if a media type announces a form with parts."""
    return content_type.strip().lower().startswith("multipart/form-data")


def read_form(content_type: str, body: bytes) -> bytes:
    """Return the fields of a form as a JSON object, in which a repeated field stays repeated.

    Fields whose name ends in `[]`, and files, are joined to arrays if they are repeated.

    Raises:
        UnreadableFormError: the form is not read.
    """
    joined: dict[str, list[JSON]] = {}
    members: list[tuple[str, JSON]] = []
    for part in _parts(content_type, body):
        is_array = part.name.endswith("[]")
        name = part.name.removesuffix("[]")
        if not is_array and isinstance(part.value, str):
            members.append((name, part.value))
            continue
        values = joined.setdefault(name, [])
        values.append(part.value)
        if len(values) == 1:
            members.append((name, values if is_array else part.value))
        elif not is_array:
            members = [(n, values if v is values[0] else v) for n, v in members]
    return (
        "{" + ",".join(f"{encode(name)}:{encode(value)}" for name, value in members) + "}"
    ).encode()


def with_fields(content_type: str, body: bytes, values: Mapping[str, str]) -> bytes:
    """Replace the texts of some fields of a form; every other byte stays as it is.

    Raises:
        UnreadableFormError: the form is not read.
    """
    for part in reversed(list(_parts(content_type, body))):
        if part.name in values and isinstance(part.value, str):
            body = body[: part.start] + values[part.name].encode() + body[part.end :]
    return body


def _parts(content_type: str, body: bytes) -> Iterator[_Part]:
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise UnreadableFormError("the media type names no plain boundary")
    delimiter = b"--" + (found[1] or found[2]).encode()
    position = body.find(delimiter)
    if position != 0:
        raise UnreadableFormError("something precedes the first part")
    for _ in range(_MOST_PARTS):
        start = position + len(delimiter)
        if body.startswith(b"--", start):
            if body[start + 2 : start + 7] not in _ENDS:
                raise UnreadableFormError("something follows the last part")
            return
        position = body.find(delimiter, start)
        if not body.startswith(b"\r\n", start) or position < 0:
            raise UnreadableFormError("a part has no end")
        if body[position - 2 : position] != b"\r\n":
            raise UnreadableFormError("a boundary does not begin a line")
        yield _part(body, start + 2, position - 2)
    raise UnreadableFormError("it has too many parts")


def _part(body: bytes, start: int, end: int) -> _Part:
    head_end = body.find(b"\r\n\r\n", start, min(end, start + _LONGEST_HEAD))
    if head_end < 0:
        raise UnreadableFormError("a part has no head")
    disposition, media_type = _read_head(body[start:head_end].split(b"\r\n"))
    start = head_end + 4
    if start > end:
        raise UnreadableFormError("a part has no content")
    try:
        name = (disposition[1] or disposition[2] or b"").decode()
        if disposition[3]:
            head = body[start : min(end, start + WAVE_HEAD)]
            return _Part(name, _file(disposition, media_type, end - start, head), start, end)
        if end - start > _LONGEST_TEXT:
            raise UnreadableFormError("a text field is too long")
        return _Part(name, _text(body[start:end], media_type), start, end)
    except UnicodeDecodeError as error:
        raise UnreadableFormError("a field is not UTF-8") from error


def _read_head(lines: list[bytes]) -> tuple[re.Match[bytes], bytes]:
    """Return the disposition and the media type of a part."""
    dispositions = [found for line in lines if (found := _DISPOSITION.fullmatch(line))]
    types = [found[1] for line in lines if (found := _TYPE.fullmatch(line))]
    ignored = sum(1 for line in lines if _IGNORED.fullmatch(line))
    if len(dispositions) != 1 or len(types) > 1 or 1 + len(types) + ignored != len(lines):
        raise UnreadableFormError("the head of a part is not plain")
    return dispositions[0], types[0] if types else b""


def _text(content: bytes, media_type: bytes) -> str:
    is_utf8 = _UTF8.fullmatch(media_type) is not None
    if not is_utf8 and not (content.isascii() and _LIKE_ASCII.fullmatch(media_type)):
        raise UnreadableFormError("a text field has another charset")
    return content.decode()


def _file(
    disposition: re.Match[bytes], media_type: bytes, size: int, head: bytes
) -> dict[str, JSON]:
    rate = wave_rate(head)
    return {
        "filename": (disposition[4] or disposition[5] or b"").decode("utf-8", "replace"),
        "media_type": media_type.decode("utf-8", "replace"),
        "bytes": size,
        **({"bytes_per_second": rate} if rate else {}),
    }
