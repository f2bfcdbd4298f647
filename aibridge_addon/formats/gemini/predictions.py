"""`predict` of Google's models: images by Imagen, and embeddings of Vertex AI. Sans-io.

Images are billed by number, which the response has; embeddings state the tokens of each text. Of
other models only the call is recorded.
"""

from collections.abc import Iterable

from aibridge_addon.facts import RequestFacts, ResponseFacts, Usage
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Message, Part
from aibridge_addon.formats.gemini.names import member_named, named
from aibridge_addon.formats.gemini.other import GoogleFormat, named_model
from aibridge_addon.formats.openai_other import PlainView
from aibridge_addon.formats.parts import file_part, json_text, text_part
from aibridge_addon.formats.prompts import trailing_turn
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.usage import Extra
from aibridge_addon.raw_json import JSON, as_raw, count, mapping, read, sequence, text

_IMAGE = ("bytesBase64Encoded", "gcsUri")
"""Members of a prediction, one of which an image has; a filtered image has neither."""


class Predictions(GoogleFormat):
    """Wire format of `:predict`."""

    name = "gemini_predictions"

    def __init__(self) -> None:
        self.view = PredictionsView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request: its model, and the prompts of images."""
        facts = named_model(request)
        instances = sequence(member_named(dict(request.members), "instances"))
        prompts = [typed for given in instances if (typed := text(mapping(given).get("prompt")))]
        turn = trailing_turn(([prompt] for prompt in reversed(prompts)), index=0)
        return RequestFacts(
            model=facts.model,
            billing_labels=facts.billing_labels,
            user_texts=turn.user_texts,
            position=turn.position,
            request_kind=None if prompts else "side",
        )

    def output_limit(self, members: Members) -> int | None:
        """Return 0: there is no output in tokens."""
        return 0

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read the predictions of a request."""
        if not isinstance(given := document.get("predictions"), list):
            return None
        predictions = [mapping(prediction) for prediction in given]
        return ResponseFacts(usage=_tokens_of(predictions) or _images_of(predictions))


def _tokens_of(predictions: list[dict[str, JSON]]) -> Usage | None:
    """Return the tokens of embeddings; None if a prediction does not state them."""
    statistics = [mapping(mapping(p.get("embeddings")).get("statistics")) for p in predictions]
    counts = [count(named(stated, "tokenCount")) for stated in statistics]
    if not counts or None in counts:
        return None
    tokens = sum(found or 0 for found in counts)
    return Usage(input_tokens=tokens, output_tokens=0, raw={"statistics": statistics})


def _images_of(predictions: list[dict[str, JSON]]) -> Usage | None:
    images = sum(any(named(p, name) for name in _IMAGE) for p in predictions)
    extra: Extra = {"output_images": images}
    return Usage(input_tokens=None, output_tokens=None, extra=extra) if images else None


class PredictionsView(PlainView):
    """Reads bodies of `:predict`."""

    history_member = "instances"
    content_member = "predictions"

    def read_message(self, given: JSON, role: str) -> Message:
        """Read an instance: the prompt of an image, or the text of a vector."""
        own = mapping(given)
        shown = text(own.get("prompt")) or text(own.get("content")) or json_text(given)
        return Message(role=role, parts=(text_part(shown),))

    def assemble_response(self, body: bytes) -> bytes:
        """Return a response without the numbers of its vectors."""
        document = mapping(read(super().assemble_response(body)))
        if not isinstance(given := document.get("predictions"), list):
            return bytes(as_raw(document)) if document else b""
        return bytes(as_raw({**document, "predictions": [_short(mapping(p)) for p in given]}))

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the images without their data, and the number of vectors."""
        predictions = [mapping(given) for given in sequence(document.get("predictions"))]
        for found in predictions:
            if any(named(found, name) for name in _IMAGE):
                yield file_part(
                    "image",
                    data=named(found, "bytesBase64Encoded"),
                    url=named(found, "gcsUri"),
                    media_type=text(named(found, "mimeType")),
                )
        if vectors := sum("embeddings" in found for found in predictions):
            yield Part(kind="other", name="embeddings", text=f"{vectors} vectors")


def _short(prediction: dict[str, JSON]) -> dict[str, JSON]:
    embeddings = prediction.get("embeddings")
    if not isinstance(embeddings, dict):
        return prediction
    rest = {name: value for name, value in embeddings.items() if name != "values"}
    return {**prediction, "embeddings": rest}


FORMAT = Predictions()
