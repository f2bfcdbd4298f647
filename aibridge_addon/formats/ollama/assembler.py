"""Assembles streamed responses of Ollama's API into one document. Sans-io."""

from aibridge_addon.formats.ollama.reader import ChatReader, GenerationReader, OllamaReader
from aibridge_addon.raw_json import JSON, mapping, sequence

_PIECES = ("content", "thinking", "response")
"""Texts that come in pieces."""


class Pieces:
    """Members of an object whose texts come in pieces, joined once, at the end."""

    def __init__(self) -> None:
        self._members: dict[str, JSON] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: list[JSON] = []

    def add(self, given: dict[str, JSON], *, without: str = "") -> None:
        """Add the members of an object that goes on."""
        for name, value in given.items():
            if name in _PIECES and isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
            elif name == "tool_calls":
                self._calls += sequence(value)
            elif name != without and value is not None:
                self._members[name] = value

    def joined(self) -> dict[str, JSON]:
        """Return the object so far."""
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        calls = {"tool_calls": self._calls} if self._calls else {}
        return {**self._members, **texts, **calls}


class _Assembler(OllamaReader):
    def __init__(self) -> None:
        super().__init__()
        self._document = Pieces()
        self._message = Pieces()
        self._has_message = False

    def on_line(self, line: dict[str, JSON]) -> None:
        """Read a line that is an object."""
        super().on_line(line)
        self._document.add(line, without="message")
        if isinstance(line.get("message"), dict):
            self._has_message = True
            self._message.add(mapping(line["message"]))

    def document(self) -> dict[str, JSON]:
        """Return the response so far."""
        document = self._document.joined()
        if document.get("done") is False:  # it would be a line of a stream
            del document["done"]
        return {**document, "message": self._message.joined()} if self._has_message else document


class ChatAssembler(_Assembler, ChatReader):
    """Assembles one streamed response of `POST /api/chat`."""


class GenerationAssembler(_Assembler, GenerationReader):
    """Assembles one streamed response of `POST /api/generate`."""
