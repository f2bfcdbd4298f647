"""Reads responses of the Interactions API. Sans-io.

An interaction consists of steps. In a stream each step begins, grows by deltas, and ends; the last
event has the usage. The usage of events before it is cumulative.
"""

from aibridge_addon.facts import ProviderError, ResponseFacts, Thought, ToolCall
from aibridge_addon.formats.gemini.errors import read_error
from aibridge_addon.formats.gemini.usage import merge
from aibridge_addon.formats.gemini_interactions.request import texts_of
from aibridge_addon.formats.gemini_interactions.usage import read_usage, tier_of
from aibridge_addon.formats.reader import Reader
from aibridge_addon.formats.usage import states_tokens
from aibridge_addon.raw_json import JSON, arguments, expect, mapping, sequence, text

_RUNNING = ("in_progress", "queued")
_CALL = "_call"
_OWN_CALL = "function_call"


class InteractionReader(Reader):
    """Reads one streamed interaction, without its texts and media."""

    def __init__(self) -> None:
        super().__init__()
        self._interaction: dict[str, JSON] = {}
        self._steps: dict[int, dict[str, JSON]] = {}
        self._fragments: dict[int, list[str]] = {}
        """Pieces of the arguments of a call, or of the summary of a thought, by step."""
        self._error_data: JSON = None
        self.handlers = {
            "interaction.created": self._on_interaction,
            "interaction.status_update": self._on_status,
            "interaction.completed": self._on_completed,
            "step.start": self._on_step,
            "step.delta": self._on_delta,
            "step.stop": self._on_usage,
            "error": self._on_error,
        }

    def on_data(self, data: dict[str, JSON]) -> None:
        """Read an event; its kind is in `event_type`."""
        super().on_data({**data, "type": data.get("event_type") or data.get("type")})

    def content(self) -> ResponseFacts:
        """Return the facts of the interaction."""
        found = self.response()  # a stream that is resumed does not state a status
        return (
            read_interaction({"status": _RUNNING[0], **found} if found else {}) or ResponseFacts()
        )

    def response(self) -> dict[str, JSON]:
        """Return the interaction so far, as it is without streaming."""
        if not self._interaction and not self._steps:
            return {}
        steps = [self._joined(number) for number in sorted(self._steps)]
        return {**self._interaction, "steps": steps} if steps else self._interaction

    def _on_interaction(self, data: dict[str, JSON]) -> None:
        self._take_over(expect(dict, data["interaction"]))

    def _take_over(self, interaction: dict[str, JSON]) -> None:
        """Merge the members of an interaction; its steps come by events of their own."""
        self._on_usage(interaction)
        usage = self._interaction.get("usage")
        self._interaction |= {
            k: v for k, v in interaction.items() if v is not None and k != "steps"
        }
        self._interaction |= {"usage": usage} if usage else {}
        if not self._steps:
            self._steps = dict(enumerate(map(mapping, sequence(interaction.get("steps")))))

    def _on_status(self, data: dict[str, JSON]) -> None:
        status = {"id": data.get("interaction_id"), "status": data.get("status")}
        self._take_over({**status, "usage": data.get("usage")})

    def _on_completed(self, data: dict[str, JSON]) -> None:
        interaction = expect(dict, data["interaction"])
        self._has_end = self.ended = True
        self._take_over(interaction)
        self._error = failure_of(self._interaction)

    def _on_step(self, data: dict[str, JSON]) -> None:
        number, step = expect(int, data["index"]), expect(dict, data["step"])
        self._steps[number] = self.kept_step(step)

    def _on_delta(self, data: dict[str, JSON]) -> None:
        number, delta = expect(int, data["index"]), expect(dict, data["delta"])
        step = self._steps.setdefault(number, {})
        self._on_usage({"usage": mapping(data.get("metadata")).get("total_usage")})
        kind = text(delta.get("type")) or ""
        if kind == "arguments_delta":
            self._append(number, delta.get("arguments"))
        elif kind == "thought_summary":
            self._append(number, mapping(delta.get("content")).get("text"))
        elif kind == "thought_signature":
            step["signature"] = delta.get("signature")
        elif kind == step.get("type"):
            step |= self.kept_step(delta)
        else:
            self.on_content(number, delta)

    def _append(self, number: int, fragment: JSON) -> None:
        if isinstance(fragment, str):
            self._fragments.setdefault(number, []).append(fragment)

    def kept_step(self, step: dict[str, JSON]) -> dict[str, JSON]:
        """Return what is remembered of a step that begins: all but its content."""
        return {name: value for name, value in step.items() if name not in ("content", "result")}

    def on_content(self, number: int, delta: dict[str, JSON]) -> None:
        """Read a piece of the content of a step: here nothing."""

    def _on_usage(self, data: dict[str, JSON]) -> None:
        if usage := mapping(data.get("usage")):
            before = mapping(self._interaction.get("usage"))
            self._interaction["usage"] = merge(before, usage)
            if not self._has_end and read_usage(usage):
                self.report_usage()

    def _on_error(self, data: dict[str, JSON]) -> None:
        self._error_data = data.get("error")
        self._error = read_error(data) or ProviderError(type=None, message=None)
        self.ended = True

    def _joined(self, number: int) -> dict[str, JSON]:
        step = self._steps[number]
        if (fragments := self._fragments.get(number)) is None:
            return step
        joined = "".join(fragments)
        if step.get("type") == "thought":
            return {**step, "summary": [*sequence(step.get("summary")), _text(joined)]}
        return {**step, "arguments": arguments(joined)}


def _text(content: str) -> dict[str, JSON]:
    return {"type": "text", "text": content}


class InteractionAssembler(InteractionReader):
    """Assembles one streamed interaction into the document of an interaction without streaming."""

    def __init__(self) -> None:
        super().__init__()
        self._contents: dict[int, list[dict[str, JSON]]] = {}
        """Contents of each step, which the step has too."""
        self._texts: dict[int, dict[int, list[str]]] = {}
        """Pieces of each text of a step, by the place of the text among the contents."""

    def kept_step(self, step: dict[str, JSON]) -> dict[str, JSON]:
        """Return the whole step."""
        return dict(step)

    def on_content(self, number: int, delta: dict[str, JSON]) -> None:
        """Append a piece of content; pieces of a text are joined at the end."""
        contents = self._contents_of(number)
        piece = delta.get("text")
        if delta.get("type") not in ("text", "text_annotation_delta"):
            contents.append(delta)
        elif delta.get("type") == "text" and isinstance(piece, str):
            if not contents or contents[-1].get("type") != "text":
                contents.append(_text(""))
            place = len(contents) - 1
            first = text(contents[place].get("text")) or ""
            self._texts[number].setdefault(place, [first]).append(piece)

    def _contents_of(self, number: int) -> list[dict[str, JSON]]:
        """Return the contents of a step, whose event of the start may have given some."""
        step = self._steps[number]
        given = step.get("content")
        if number not in self._contents or given is not self._contents[number]:
            started = [given] if isinstance(given, dict) else sequence(given)
            step["content"] = self._contents[number] = [mapping(content) for content in started]
            self._texts[number] = {}
        return self._contents[number]

    def document(self) -> dict[str, JSON]:
        """Return the interaction so far, with the error that ended it."""
        failed = {"error": self._error_data} if self._error else {}
        return {**self.response(), **failed}

    def _joined(self, number: int) -> dict[str, JSON]:
        step = super()._joined(number)
        given = step.get("content")
        if given is None or given is not self._contents.get(number):  # the step has begun again
            return step
        joined = {place: "".join(pieces) for place, pieces in self._texts[number].items()}
        whole = [
            {**content, "text": joined[place]} if place in joined else content
            for place, content in enumerate(self._contents[number])
        ]
        return {**step, "content": whole}


def read_interaction(document: dict[str, JSON]) -> ResponseFacts | None:
    """Read an interaction; None if it has another shape."""
    status = text(document.get("status"))
    if not status:
        return None
    usage = mapping(document.get("usage"))
    steps = [mapping(step) for step in sequence(document.get("steps"))]
    return ResponseFacts(
        response_id=text(document.get("id")),
        model=text(document.get("model")) or text(document.get("agent")),
        usage=(own := read_usage(usage, tier_of(document), is_whole=status not in _RUNNING)),
        usage_unreadable=own is None and states_tokens(usage),
        tool_calls=tuple(_read_call(step) for step in steps if _kind(step).endswith(_CALL)),
        thoughts=tuple(filter(None, map(_read_thought, steps))),
        pending=status in _RUNNING,
        cancelled=status == "cancelled",
        error=failure_of(document),
    )


def _kind(step: dict[str, JSON]) -> str:
    return text(step.get("type")) or ""


def _read_call(step: dict[str, JSON]) -> ToolCall:
    given = step.get("arguments")
    return ToolCall(
        tool=text(step.get("name")) or _kind(step).removesuffix(_CALL),
        call_id=text(step.get("id")) or None,
        input={} if given is None else given,
        server_side=_kind(step) != _OWN_CALL,
    )


def _read_thought(step: dict[str, JSON]) -> Thought | None:
    if _kind(step) != "thought":
        return None
    summary = "".join(texts_of(step.get("summary")))
    return Thought(content=summary, source="reasoning_summary") if summary else None


def failure_of(document: dict[str, JSON]) -> ProviderError | None:
    """Return the error of an interaction that failed; None if it did not."""
    if document.get("status") != "failed":
        return None
    first = mapping(next(iter(sequence(document.get("errors"))), None))
    return read_error({"error": first}) or ProviderError(type=None, message=None)
