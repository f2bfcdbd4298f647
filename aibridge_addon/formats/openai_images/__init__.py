"""OpenAI's API for images: `POST /images/generations`, and edits, which are forms. Sans-io."""

import re

from aibridge_addon.facts import RequestFacts, ResponseFacts, SpokenInput
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.form_fields import flag
from aibridge_addon.formats.openai_images.reader import ImageReader, read_images
from aibridge_addon.formats.openai_images.view import ImagesView
from aibridge_addon.formats.openai_other import OpenAIFormat, typed_prompt
from aibridge_addon.formats.output_limits import choices_in, number
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, mapping, member, text

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_USUAL_SIZE = "1024x1536"
_MOST_PIXELS = 8_294_400
_TOKENS = 96 * 96
"""Of a square image of high quality with 2 million pixels; others of as many pixels have fewer."""
_OF_PREVIEW = 100
_GIVEN = ("image", "images", "mask")
_OF_IMAGE = 2_000
_OF_DETAILS = 7_000
"""Tokens of an image that is read with all of its details."""


class OpenAIImages(OpenAIFormat):
    """Wire format of `POST /images/generations`, `/images/edits` and `/images/variations`."""

    name = "openai_images"
    takes_forms = True

    def __init__(self) -> None:
        self.view = ImagesView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request."""
        members = dict(request.members)
        turn = typed_prompt(members)
        return RequestFacts(
            model=text(member(members, "model")),
            streaming=flag(members, "stream"),
            user_texts=turn.user_texts,
            position=turn.position,
        )

    def choices(self, members: Members) -> int:
        """Return the number of images."""
        return choices_in(member(members, "n"))

    def output_limit(self, members: Members) -> int:
        """Return the most tokens of an image: they grow with its size."""
        size = text(member(members, "size")) or "auto"
        stated = _SIZE.fullmatch(_USUAL_SIZE if size == "auto" else size)
        pixels = int(stated[1]) * int(stated[2]) if stated else _MOST_PIXELS
        previews = number(member(members, "partial_images")) or 0
        return _TOKENS * (2_000_000 + pixels) // 4_000_000 + 1 + _OF_PREVIEW * int(min(previews, 9))

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return the images that the request edits."""
        given = (member(members, name) for name in _GIVEN)
        files = [one for each in given for one in (each if isinstance(each, list) else [each])]
        of_image = _OF_DETAILS if member(members, "input_fidelity") == "high" else _OF_IMAGE
        uploaded = sum("bytes" in mapping(file) for file in files)
        return SpokenInput(image_tokens=uploaded * of_image, is_answered_in_images=True)

    def reader(self) -> ImageReader:
        """Return a new reader for one stream of images."""
        return ImageReader(self.read_response)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the images of a request."""
        return read_images(document)


FORMAT = OpenAIImages()
