"""Recognises polls: requests that ask for the state or results of an earlier request. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from mitmproxy import http

from aibridge_addon.formats import (
    Format,
    anthropic_batches,
    gemini_batches,
    gemini_interactions,
    openai_batches,
    openai_responses,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """A poll of a response in the background, or of a batch."""

    id: str
    """The id of the response, the batch, or the file with its results."""
    wire_format: Format
    """The format of the response to the poll."""
    batch_format: Format | None = None
    """The format that records a batch that was created elsewhere; None: it is not recorded."""


@dataclass(frozen=True, slots=True)
class _Shape:
    path: re.Pattern[str]
    """Matches the end of a path; the second group means that the request must be a POST."""
    wire_format: Format
    batch_format: Format | None = None
    provider_type: str | None = None
    """The only provider type with such paths; None: all of them."""


_SHAPES = (
    _Shape(
        re.compile(r"/v\d\w*/(batches/[^/:]+)/?()"),
        gemini_batches.FORMAT,
        gemini_batches.FORMAT,
        provider_type="gemini",
    ),
    _Shape(
        re.compile(r"/v\d\w*/(files/[^/:]+)(?::|%3A)download()", re.IGNORECASE),
        gemini_batches.RESULTS,
        provider_type="gemini",
    ),
    _Shape(
        re.compile(r"/v\d\w*/interactions/([^/]+)(/cancel)?/?"),
        gemini_interactions.FORMAT,
        provider_type="gemini",
    ),
    _Shape(re.compile(r"/responses/([^/]+)(/cancel)?/?"), openai_responses.FORMAT),
    _Shape(
        re.compile(r"/messages/batches/([^/]+)/results/?()"),
        anthropic_batches.RESULTS,
        anthropic_batches.FORMAT,
    ),
    _Shape(
        re.compile(r"(?<!/messages)/batches/([^/]+)(/cancel)?/?"),
        openai_batches.FORMAT,
        openai_batches.FORMAT,
    ),
    _Shape(re.compile(r"/files/([^/]+)/content/?()"), openai_batches.RESULTS),
)
_LIST = re.compile(r"/batches/?")


def poll_of(request: http.Request, provider_type: str) -> Poll | None:
    """Return the poll that a request is; None for other requests."""
    path: str = request.path.partition("?")[0]
    for shape in _SHAPES:
        if shape.provider_type not in (None, provider_type):
            continue
        found = next(shape.path.finditer(path), None)
        if found and found.end() == len(path):
            is_poll = request.method == ("POST" if found[2] else "GET")
            id_ = unquote(found[1])
            return (
                Poll(id=id_, wire_format=shape.wire_format, batch_format=shape.batch_format)
                if is_poll
                else None
            )
    return None


def is_list_of_batches(request: http.Request) -> bool:
    """Return True for a list of batches, which repeats their usage."""
    path: str = request.path.partition("?")[0]
    found = _LIST.search(path)
    return request.method == "GET" and found is not None and found.end() == len(path)
