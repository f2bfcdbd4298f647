"""Central tools in the Gemini API. Sans-io.

A response is one content of the model, or several neighbours after a stream; the results of its
calls are parts of the content after it. The provider may give calls no ids.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.gemini.envelope import inner_request, replace_inner
from aibridge_addon.formats.gemini.names import member_named, named, spelling
from aibridge_addon.formats.gemini.reader import parts_of
from aibridge_addon.formats.gemini.request import contents_of, texts_of
from aibridge_addon.formats.gemini.splicer import Merger, Splicer
from aibridge_addon.formats.gemini.turn import call_in, provided_id, shown_text
from aibridge_addon.formats.images import ImageLimits, described
from aibridge_addon.formats.offer_limits import OfferLimits
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    PastResponse,
    Restoration,
    ToolFormat,
    Transcript,
    Turn,
    build_transcript,
)
from aibridge_addon.raw_json import (
    JSON,
    as_raw,
    elements,
    joined,
    mapping,
    members,
    read,
    sequence,
    text,
    with_values,
)

_CONTENTS, _TOOLS, _DECLARATIONS = "contents", "tools", "functionDeclarations"
_CONFIG, _CALLING, _GENERATION = "toolConfig", "functionCallingConfig", "generationConfig"
_FREE_MODES = (None, "AUTO", "VALIDATED", "MODE_UNSPECIFIED")
_IMAGES = ImageLimits(characters=9 * 1024 * 1024)
_GIF = "image/gif"


class GeminiTools(ToolFormat):
    """Offers central tools in the Gemini API, and joins its responses."""

    limits = OfferLimits(tools=512)
    history_member = _CONTENTS

    def may_offer(self, request: Members) -> bool:
        """Return whether the model may choose freely, and declarations may be added.

        Not beside cached content, which has the tools; nor beside only tools of the provider, or a
        required shape of the answer, which most models do not mix with calls.
        """
        calling = mapping(named(member_named(request, _CONFIG), _CALLING))
        config = mapping(member_named(request, _GENERATION))
        modalities = sequence(named(config, "responseModalities"))
        return (
            calling.get("mode") in _FREE_MODES
            and not named(calling, "allowedFunctionNames")
            and not named(calling, "streamFunctionCallArguments")
            and not member_named(request, "cachedContent")
            and named(config, "responseMimeType") in (None, "text/plain")
            and named(config, "candidateCount") in (None, 1)
            and all(str(kind).upper() == "TEXT" for kind in modalities)
        )

    def tool_name(self, tool: JSON) -> str | None:
        """Return the name of a function that a client declares."""
        return text(mapping(tool).get("name"))

    def definition(self, tool: CentralTool) -> JSON:
        """Return the declaration of a central tool."""
        return {
            "name": tool.name,
            "description": self.limits.described(tool),
            "parametersJsonSchema": dict(tool.input_schema),
        }

    def inject(self, request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
        """Offer tools in a request, in place; return the offered tools."""
        inner = inner_request(request)
        name = spelling(inner, _TOOLS)
        own = elements(inner.get(name))
        if not self.may_offer(inner) or not _has_contents(inner):
            return ()
        lists = [index for index, tool in enumerate(own) if _declared(tool) is not None]
        if (own and not lists) or (name in inner and not own and read(inner[name]) != []):
            return ()
        declared = [found for index in lists for found in _declared(own[index]) or ()]
        names = [self.tool_name(read(found)) for found in declared]
        offered = self.limits.selected(tools, names)
        if offered:
            added = self.definitions(offered)
            inner[name] = _with_declarations(own, lists, added)
            replace_inner(request, inner)
        return offered

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""
        return Splicer(names)

    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""
        return Merger(names)

    def turn_items(self, turn: Turn) -> list[JSON]:
        """Return a turn as a content; nothing for an empty turn, which the API refuses."""
        return [{"role": "model", "parts": list(turn.items)}] if turn.items else []

    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
        """Return results as parts; images follow the results."""
        items: list[JSON] = []
        images: list[JSON] = []
        for call, result in results:
            parts = [_legal_part(part, result.is_error) for part in result.parts]
            images += [_image(part) for part in parts if part.kind == "image"]
            items.append(_response(call, parts, result.is_error))
        return [*items, *images]

    def result_messages(self, results: Sequence[JSON]) -> list[JSON]:
        """Return result items as one content."""
        return [{"role": "user", "parts": list(results)}]

    def continue_request(
        self, request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
    ) -> Members:
        """Return the next request: with the turn and its results, and no more calls if `last`."""
        continued = dict(request)
        inner = inner_request(request)
        added = [*self.turn_items(turn), *self.result_messages(results)]
        inner[spelling(inner, _CONTENTS)] = joined([*contents_of(inner), *map(as_raw, added)])
        replace_inner(continued, self.without_calls(inner, last))
        return continued

    def without_calls(self, request: Members, last: bool) -> Members:
        """Forbid calls in the last request of a loop, in place; return the request."""
        if last:
            name = spelling(request, _CONFIG)
            config = mapping(member_named(request, _CONFIG))
            config = {**config, spelling(config, _CALLING): {"mode": "NONE"}}
            request[name] = as_raw(config)
        return request

    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses: by the ids of their calls, and by their texts and calls.

        Clients may leave out ids that the provider gave, or add ids where it gave none.
        """
        contents = [mapping(read(content)) for content in contents_of(inner_request(request))]
        runs, since = build_transcript(_conversation(contents, with_ids=True))
        known = {(run.start, run.key) for run in runs}
        others = build_transcript(_conversation(contents, with_ids=False)).runs
        return Transcript([*runs, *(r for r in others if (r.start, r.key) not in known)], since)

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place; return whether anything changed."""
        runs = {run.start: run for run in self.transcript(request).runs if run.key in found}
        if not runs:
            return False
        inner = inner_request(request)
        restored: list[msgspec.Raw] = []
        results: tuple[JSON, ...] = ()
        end = 0
        for index, content in enumerate(contents_of(inner)):
            if run := runs.get(index):
                entry, end = found[run.key], run.end
                restored += map(as_raw, entry.sequence)
                results = entry.results
            elif index >= end:
                restored.append(_with_results(content, results) if results else content)
                results = ()
        inner[spelling(inner, _CONTENTS)] = joined(restored)
        replace_inner(request, inner)
        return True


def _has_contents(request: Members) -> bool:
    return bool(contents_of(request))


def _declared(tool: msgspec.Raw) -> list[msgspec.Raw] | None:
    """Return the functions that an element of the tools declares; None if it is another tool."""
    given = mapping(read(tool))
    name = spelling(given, _DECLARATIONS)
    if not isinstance(given.get(name), list):
        return None
    return [as_raw(declaration) for declaration in given[name]]


def _with_declarations(
    own: list[msgspec.Raw], lists: list[int], added: list[msgspec.Raw]
) -> msgspec.Raw:
    """Return the tools with further declarations, in the client's last list of them."""
    if not lists:
        return joined([as_raw({_DECLARATIONS: added})])
    tool = own[lists[-1]]
    name = spelling(mapping(read(tool)), _DECLARATIONS)
    given = (members(tool) or {}).get(name)
    changed = with_values(bytes(tool), {name: joined([*elements(given), *added])})
    return joined([*own[: lists[-1]], msgspec.Raw(changed), *own[lists[-1] + 1 :]])


def _response(call: InjectedCall, parts: Sequence[ResultPart], is_error: bool) -> JSON:
    shown = "\n".join(part.text for part in parts if part.kind != "image")
    call_id = provided_id(call.call_id)
    return {
        "functionResponse": {
            **({"id": call_id} if call_id else {}),
            "name": call.name,
            "response": {"error" if is_error else "output": shown or "(see the images)"},
        }
    }


def _legal_part(part: ResultPart, is_error: bool) -> ResultPart:
    if part.kind != "image":
        return part
    image = described(part, "the result is an error") if is_error else _IMAGES.applied(part)
    is_gif = image.kind == "image" and image.media_type == _GIF
    return described(image, "of a type that the model does not read") if is_gif else image


def _image(part: ResultPart) -> JSON:
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


def _conversation(
    contents: Sequence[dict[str, JSON]], *, with_ids: bool
) -> Iterator[PastResponse | str]:
    start = 0
    while start < len(contents):
        if contents[start].get("role") != "model":
            yield from _texts_of(contents[start])
            start += 1
            continue
        end = start
        parts: list[JSON] = []
        while end < len(contents) and contents[end].get("role") == "model":
            parts += parts_of(contents[end])
            end += 1
        ids = [text(call.get("id")) or "" for part in parts if (call := call_in(part))]
        calls = ids if with_ids else [""] * len(ids)
        yield PastResponse(start=start, end=end, client_calls=calls, text=shown_text(parts))
        start = end


def _texts_of(content: dict[str, JSON]) -> list[str]:
    """Return what distinguishes a content: the typed text, and the calls that it answers."""
    given = [mapping(named(part, "functionResponse")) for part in parts_of(content)]
    answered = [text(found.get("id")) or text(found.get("name")) for found in given if found]
    return [part for part in (typed_text(texts_of(content)), *answered) if part]


def _with_results(content: msgspec.Raw, results: Sequence[JSON]) -> msgspec.Raw:
    """Return a content with the results of hidden calls beside the client's own."""
    given = mapping(read(content))
    own = parts_of(given)
    if not any(named(part, "functionResponse") for part in own):
        return content
    images = [part for part in results if named(part, "functionResponse") is None]
    hidden = [part for part in results if named(part, "functionResponse") is not None]
    return as_raw({**given, "parts": [*hidden, *own, *images]})
