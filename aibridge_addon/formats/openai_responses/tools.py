"""Central tools in OpenAI Responses. Sans-io.

A response is several items, or a reference to what the provider has stored of it. The response
whose stored state is complete is the last of an inner loop, so a client that continues by
`previous_response_id`, which names the first, is led to the last.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.images import ImageLimits
from aibridge_addon.formats.openai_responses.items import is_client_call
from aibridge_addon.formats.openai_responses.splicer import Merger, Splicer
from aibridge_addon.formats.openai_responses.turn import (
    is_of_model,
    text_of,
    texts_of,
)
from aibridge_addon.formats.openai_tools import LIMITS, leaves_choice, result_text
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    PastResponse,
    Restoration,
    Run,
    ToolFormat,
    Transcript,
    Turn,
    build_transcript,
    run_key,
)
from aibridge_addon.raw_json import (
    JSON,
    appended,
    as_raw,
    elements,
    encode,
    joined,
    mapping,
    member,
    read,
    text,
)

_IMAGES = ImageLimits(characters=20 * 1024 * 1024)


class ResponsesTools(ToolFormat):
    """Offers central tools in Responses, and joins its responses."""

    echoes_tools = True
    limits = LIMITS
    history_member = "input"

    def may_offer(self, request: Members) -> bool:
        """Return whether the client lets the model choose among all tools, and waits for it.

        Not if the tools are those of a stored prompt, which ours would replace.
        """
        if not leaves_choice(request):
            return False
        if member(request, "prompt") is not None and "tools" not in request:
            return False
        return (
            member(request, "background") is not True and member(request, "generate") is not False
        )

    def tool_name(self, tool: JSON) -> str | None:
        """Return the name of a tool that a client defines."""
        return text(mapping(tool).get("name"))

    def definition(self, tool: CentralTool) -> JSON:
        """Return the definition of a central tool."""
        return {"type": "function", **self.limits.function(tool), "strict": False}

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""
        return Splicer(names)

    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""
        return Merger(names)

    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
        """Return results as items."""
        return [
            {"type": "function_call_output", "call_id": call.call_id, "output": _output(result)}
            for call, result in results
        ]

    def continue_request(
        self, request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
    ) -> Members:
        """Return the next request: with the turn and its results, and no more calls if `last`.

        A stored conversation has the turn already.
        """
        if member(request, "conversation") is not None:
            continued = as_raw(list(results))
        else:
            items = _acceptable(request, self.turn_items(turn))
            continued = appended(_input(request), [*items, *results])
        return self.without_calls({**request, "input": continued}, last)

    def alias_key(self, response_id: str) -> str:
        """Return the key of a response that `previous_response_id` names."""
        return _alias_key(response_id)

    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses, the text between the client's messages, and the text since.

        Where the provider has stored a response, only the client's results of its calls are there;
        they make an empty run before the first of them.
        """
        items = _items(request)
        shown = build_transcript(_conversation(items))
        runs = sorted([*_runs_of_stored(request, items), *shown.runs], key=lambda run: run.start)
        return Transcript(runs, shown.text_since)

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place; return whether anything changed."""
        runs = [run for run in self.transcript(request).runs if run.key in found]
        if not runs:
            return False
        if runs[0].key.startswith("response:"):
            request["previous_response_id"] = as_raw(found[runs.pop(0).key].sequence[0])
        given = elements(request.get("input"))
        is_stored = any(member(request, m) for m in ("previous_response_id", "conversation"))
        calls = {
            call for run in runs if run.end > run.start for call in _calls(found[run.key].sequence)
        }
        restored = []
        position = 0
        for run in runs:
            entry = found[run.key]
            restored += _without(given[position : run.start], calls)
            restoring: list[JSON] = []
            if run.end > run.start:
                restoring += map(_legal_result, entry.sequence)
            elif (
                not is_stored
            ):  # the client's own calls are there as references; the hidden are not
                answered = _calls(entry.results)
                restoring += [item for item in entry.sequence if _calls([item]) & answered]
            results = map(_legal_result, entry.results)
            restored += [as_raw(item) for item in (*_acceptable(request, restoring), *results)]
            position = run.end
        if runs:
            request["input"] = joined([*restored, *_without(given[position:], calls)])
        return True


def _output(result: ToolResult) -> JSON:
    if not any(part.kind == "image" for part in result.parts):
        return result_text(result)
    error = [ResultPart(kind="text", text="Error:")] if result.is_error else []
    return [_output_part(part) for part in (*error, *result.parts)]


def _output_part(part: ResultPart) -> JSON:
    if part.kind == "image":
        part = _IMAGES.applied(part)
    if part.kind != "image":
        return {"type": "input_text", "text": part.text}
    return {"type": "input_image", "image_url": f"data:{part.media_type};base64,{part.data}"}


def _input(request: Members) -> bytes:
    given = member(request, "input")
    if isinstance(given, str):
        return encode([{"role": "user", "content": given}]).encode()
    return bytes(request.get("input", b"[]"))


def _acceptable(request: Members, items: list[JSON]) -> list[JSON]:
    """Return items that the API accepts in a request.

    If the provider stores nothing, items cannot be referenced by id: reasoning needs its encrypted
    content, and other items must have no id.
    """
    if member(request, "store") is not False:
        return items
    kept = (
        mapping(item)
        for item in items
        if mapping(item).get("type") != "reasoning" or mapping(item).get("encrypted_content")
    )
    return [
        item
        if item.get("type") == "reasoning"
        else {name: value for name, value in item.items() if name != "id"}
        for item in kept
    ]


def _alias_key(response_id: str) -> str:
    return f"response:{response_id}"


def _items(request: Members) -> list[dict[str, JSON]]:
    given = member(request, "input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if isinstance(given, list):
        return [mapping(item) for item in given]
    return [mapping(read(element)) for element in elements(request.get("input"))]


def _conversation(items: Sequence[dict[str, JSON]]) -> Iterator[PastResponse | str]:
    start = 0
    for is_response, group in groupby(items, is_of_model):
        part = list(group)
        end = start + len(part)
        if is_response:
            calls = [text(item.get("call_id")) or "" for item in part if is_client_call(item)]
            yield PastResponse(start=start, end=end, client_calls=calls, text=text_of(part))
        else:
            yield from _texts_in(part)
        start = end


def _texts_in(items: Sequence[dict[str, JSON]]) -> Iterator[str]:
    """Yield what distinguishes items: the typed text, and the ids of the calls they answer."""
    for item in items:
        if item.get("role") == "user":
            yield typed_text(texts_of(item.get("content"))) or ""
        elif call_id := text(item.get("call_id")):
            yield call_id


def _runs_of_stored(request: Members, items: Sequence[dict[str, JSON]]) -> list[Run]:
    """Find responses that the provider has stored: by their id, or by results of their calls."""
    previous = text(member(request, "previous_response_id"))
    runs = [Run(start=0, end=0, key=_alias_key(previous))] if previous else []
    called: set[str] = set()
    for index, item in enumerate(items):
        call_id = text(item.get("call_id")) or ""
        is_result = not is_of_model(item) and item.get("role") != "user"
        if is_client_call(item):
            called.add(call_id)
        elif is_result and call_id and call_id not in called:
            called.add(call_id)
            runs.append(Run(start=index, end=index, key=run_key([call_id], "", "")))
    return runs


def _legal_result(item: JSON) -> JSON:
    """Return a stored result, perhaps of an older version, in the shape that the API accepts."""
    output = mapping(item).get("output")
    if mapping(item).get("type") != "function_call_output" or not isinstance(output, list):
        return item
    return {**item, "output": [_legal_part(mapping(part)) for part in output]}


def _legal_part(part: dict[str, JSON]) -> JSON:
    url = text(part.get("image_url")) or ""
    if part.get("type") != "input_image" or not url.startswith("data:"):
        return part
    return _output_part(ResultPart(kind="image", data=url))


def _calls(items: Sequence[JSON]) -> set[str]:
    """Return the ids of calls in items."""
    return {call for item in items if (call := text(mapping(item).get("call_id")))}


def _without(given: Sequence[msgspec.Raw], calls: set[str]) -> list[msgspec.Raw]:
    """Remove calls that are restored elsewhere: a client may send each beside its result."""
    if not calls:
        return list(given)
    return [
        element
        for element in given
        if not (is_of_model(item := mapping(read(element))) and _calls([item]) & calls)
    ]
