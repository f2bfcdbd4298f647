"""Reads bodies of OpenAI's API for images into the content model. Sans-io."""

from collections.abc import Iterable

from aibridge_addon.formats.content import Part
from aibridge_addon.formats.openai_other import PlainView
from aibridge_addon.formats.parts import file_part, text_part
from aibridge_addon.raw_json import JSON, mapping, sequence, text


class ImagesView(PlainView):
    """Reads bodies of `POST /images/generations` and its siblings."""

    history_member = "prompt"
    content_member = "data"

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the images without their data, and the prompts that the provider made of it."""
        kind = text(document.get("output_format"))
        for image in map(mapping, sequence(document.get("data"))):
            if revised := text(image.get("revised_prompt")):
                yield text_part(revised)
            yield file_part(
                "image",
                data=image.get("b64_json"),
                url=image.get("url"),
                media_type=f"image/{kind}" if kind else None,
            )
