"""Speech to text: `POST /audio/transcriptions` and `/audio/translations`. Sans-io.

Requests are forms. A response is JSON, events, or by `response_format` a plain text or subtitles,
which report no usage.
"""

from collections.abc import Iterable, Mapping

from aibridge_addon.facts import RequestFacts, ResponseFacts, SpokenInput
from aibridge_addon.formats.audio import BYTES_PER_SECOND, OPENAI_TOKENS
from aibridge_addon.formats.base import RequestView
from aibridge_addon.formats.content import Part
from aibridge_addon.formats.form_fields import flag
from aibridge_addon.formats.openai_audio.usage import read_audio_usage
from aibridge_addon.formats.openai_other import OpenAIFormat, PlainReader, PlainView, ReadDocument
from aibridge_addon.formats.parts import text_part
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, as_raw, count, expect, mapping, member, text

_NOT_TEXT = (b"{", b"[", b"<")


class OpenAITranscriptions(OpenAIFormat):
    """Wire format of `POST /audio/transcriptions` and `/audio/translations`."""

    name = "openai_transcriptions"
    takes_forms = True

    def __init__(self) -> None:
        self.view = TranscriptionsView(self)

    def read_request(self, request: RequestView) -> RequestFacts:
        """Read a request; its `prompt` is a hint at the style, which nobody typed."""
        members = dict(request.members)
        return RequestFacts(
            model=text(member(members, "model")),
            streaming=flag(members, "stream"),
        )

    def units(self, members: Members) -> Mapping[str, int]:
        """Return the probable length of the audio, by the size and coding of its file."""
        file = mapping(member(members, "file"))
        rate = count(file.get("bytes_per_second")) or BYTES_PER_SECOND
        return {"input_audio_seconds": (count(file.get("bytes")) or 0) // rate}

    def spoken_input(self, members: Members) -> SpokenInput:
        """Return the audio, for models whose audio is billed by tokens."""
        seconds = self.units(members)["input_audio_seconds"]
        return SpokenInput(audio_tokens=seconds * OPENAI_TOKENS)

    def reader(self) -> "TranscriptReader":
        """Return a new reader for one streamed transcript."""
        return TranscriptReader(self.read_response)

    def read_whole(self, body: bytes) -> ResponseFacts:
        """Read a transcript, of whichever shape, or an error."""
        return ResponseFacts(complete=True) if is_plain(body) else super().read_whole(body)

    def read_response(self, document: dict[str, JSON]) -> ResponseFacts | None:
        """Read a transcript."""
        if not isinstance(document.get("text"), str):
            return None
        usage = mapping(document.get("usage"))
        return ResponseFacts(
            model=text(document.get("model")),
            usage=(own := read_audio_usage(usage or _length(document))),
            usage_unreadable=own is None and states_tokens(usage),
        )


def _length(document: dict[str, JSON]) -> dict[str, JSON]:
    """Return the length of the audio, which is billed, from a detailed response without usage."""
    return {"seconds": document["duration"]} if "duration" in document else {}


def is_plain(body: bytes) -> bool:
    """Return True if a transcript is a text by itself, or subtitles."""
    start = body.lstrip()[:1]
    return bool(start) and start not in _NOT_TEXT and b"\x00" not in body[:64]


class TranscriptReader(PlainReader):
    """Reads one streamed transcript."""

    def __init__(self, read_response: ReadDocument) -> None:
        super().__init__(read_response)
        self._fragments: list[str] = []
        self._segments: list[JSON] = []
        self.handlers = {
            "transcript.text.delta": self._on_delta,
            "transcript.text.segment": self._on_segment,
            "transcript.text.done": self._on_done,
        }

    def response(self) -> dict[str, JSON]:
        """Return the transcript so far."""
        parts = {"text": "".join(self._fragments)} if self._fragments else {}
        segments = {"segments": self._segments} if self._segments else {}
        return {**parts, **segments, **self._document}

    def _on_delta(self, data: dict[str, JSON]) -> None:
        self._fragments.append(expect(str, data["delta"]))

    def _on_segment(self, data: dict[str, JSON]) -> None:
        self._segments.append({name: value for name, value in data.items() if name != "type"})

    def _on_done(self, data: dict[str, JSON]) -> None:
        self._document |= {name: value for name, value in data.items() if name != "type"}
        self._has_end = self.ended = True


class TranscriptionsView(PlainView):
    """Reads bodies of `POST /audio/transcriptions` and `/audio/translations`."""

    history_member = "prompt"
    content_member = "text"

    def assemble_response(self, body: bytes) -> bytes:
        """Return a transcript as one JSON document."""
        if is_plain(body) and not body.lstrip().startswith((b"data:", b"event:", b":")):
            return bytes(as_raw({"text": body.decode("utf-8", "replace")}))
        return super().assemble_response(body)

    def response_parts(self, document: dict[str, JSON]) -> Iterable[Part]:
        """Return the transcript."""
        if transcript := text(document.get("text")):
            yield text_part(transcript)
