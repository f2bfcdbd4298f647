"""Reads images, whole and streamed, and their usage. Sans-io.

A second model may draw with code: its usage is in `svg_usage`, and a row of its own.
"""

from collections.abc import Iterator
from dataclasses import replace

from aibridge_addon.facts import ResponseFacts, Usage
from aibridge_addon.formats.openai_other import PlainReader, ReadDocument
from aibridge_addon.formats.openai_usage import RESPONSES_NAMES, read_usage
from aibridge_addon.formats.usage import Extra, states_tokens
from aibridge_addon.raw_json import JSON, count, mapping, text

_KINDS = ("image_generation", "image_edit")
_OF_IMAGE = ("b64_json", "url", "revised_prompt")
"""Members of an event that belong to its image, not to the response."""


class ImageReader(PlainReader):
    """Reads one stream of images, which has an event for each image and no other end."""

    def __init__(self, read_response: ReadDocument) -> None:
        super().__init__(read_response)
        self.handlers = {f"{kind}.completed": self._on_image for kind in _KINDS}

    def is_ignored(self, kind: str) -> bool:
        """Return whether an event is a preview of an image."""
        return kind in {f"{kind}.partial_image" for kind in _KINDS} or kind == "keepalive"

    def _on_image(self, data: dict[str, JSON]) -> None:
        image = {name: data[name] for name in _OF_IMAGE if name in data}
        rest = {k: v for k, v in data.items() if k not in (*_OF_IMAGE, "type", "created_at")}
        before = self._document
        rest["created"] = data.get("created_at")
        for name in ("usage", "svg_usage"):
            if name in before or name in rest:
                rest[name] = _sum(mapping(before.get(name)), mapping(rest.get(name)))
        self._document = {**before, **rest, "data": [*before.get("data", ()), image]}
        self._has_end = True


def _sum(before: dict[str, JSON], after: dict[str, JSON]) -> dict[str, JSON]:
    """Add up the usage of two images of a stream, each of which states its own."""
    total = dict(before)
    for name, value in after.items():
        if isinstance(value, dict):
            total[name] = _sum(mapping(before.get(name)), value)
        elif (own := count(value)) is not None:
            total[name] = own + (count(before.get(name)) or 0)
        else:
            total[name] = value
    return total


def read_images(document: dict[str, JSON]) -> ResponseFacts | None:
    """Read the images of a request; None if it has another shape."""
    if not isinstance(document.get("data"), list):
        return None
    usage = mapping(document.get("usage"))
    own = read_usage(usage, RESPONSES_NAMES, outside=_image_output(usage))
    return ResponseFacts(
        model=text(document.get("model")),
        usage=own,
        usage_unreadable=own is None and states_tokens(usage),
        hidden_usages=tuple(_svg_usages(mapping(document.get("svg_usage")))),
    )


def _image_output(usage: dict[str, JSON]) -> Extra:
    """Return the output as tokens of images, unless the usage breaks it down."""
    output = count(usage.get("output_tokens"))
    return (
        {"image_output_tokens": output} if output and "output_tokens_details" not in usage else {}
    )


def _svg_usages(usage: dict[str, JSON]) -> Iterator[Usage]:
    if own := read_usage(usage, RESPONSES_NAMES):
        yield replace(own, call="svg", model=text(usage.get("model")))
