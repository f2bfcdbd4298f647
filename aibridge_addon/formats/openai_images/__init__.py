"""OpenAI's API for images: `POST /images/generations`, and edits, which are forms. Sans-io."""

from aibridge_addon.facts import RequestFacts, ResponseFacts
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.form_fields import flag
from aibridge_addon.formats.openai_images.reader import ImageReader, read_images
from aibridge_addon.formats.openai_images.view import ImagesView
from aibridge_addon.formats.openai_other import OpenAIFormat, typed_prompt
from aibridge_addon.raw_json import JSON, member, text


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

    def reader(self) -> ImageReader:
        """Return a new reader for one stream of images."""
        return ImageReader(self.read_response)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the images of a request."""
        return read_images(document)


FORMAT = OpenAIImages()
