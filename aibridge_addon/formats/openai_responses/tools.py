"""Central tools in requests of OpenAI Responses. Sans-io.

An answer is several items, or what the provider has stored of it. The response whose stored state
is complete is the last of an inner loop, so a client that goes on by `previous_response_id`, which
names the first, is led to that one.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.images import ImageLimits
from aibridge_addon.formats.openai_responses.items import is_client_call
from aibridge_addon.formats.openai_responses.splicer import Merger, Splicer
from aibridge_addon.formats.openai_responses.turn import (
    is_models,
    said_in,
    text_of,
)
from aibridge_addon.formats.openai_tools import LIMITS, leaves_choice, result_text
from aibridge_addon.formats.prompts import typed_text
from aibridge_addon.formats.tool_protocol import (
    InjectedCall,
    Members,
    PastAnswer,
    Restoration,
    Run,
    Transcript,
    Turn,
    has_readable_tools,
    run_key,
    taken_down,
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

RESTORES_WITHOUT_TOOLS = True

IMAGES = ImageLimits(characters=20 * 1024 * 1024)

splicer = Splicer
merger = Merger


def inject(request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
    """Offer tools after the client's own.

    Not where the client forbids or forces calls, or allows some tools only; nor for an answer in
    the background, which nobody waits for; nor in place of the tools of a stored prompt.
    """
    if not leaves_choice(request) or not has_readable_tools(request):
        return ()
    if member(request, "prompt") is not None and "tools" not in request:
        return ()
    if member(request, "background") is True or member(request, "generate") is False:
        return ()
    own = elements(request.get("tools"))
    offered = LIMITS.selected(tools, [text(mapping(read(tool)).get("name")) for tool in own])
    if offered:
        request["tools"] = joined([*own, *(as_raw(_definition(tool)) for tool in offered)])
    return offered


def _definition(tool: CentralTool) -> JSON:
    return {
        "type": "function",
        "name": tool.name,
        "description": LIMITS.described(tool),
        "parameters": dict(tool.input_schema),
        "strict": False,
    }


def answer_items(turn: Turn) -> list[JSON]:
    """Return a turn as items."""
    return list(turn.items)


def result_items(results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
    """Return results as items."""
    return [
        {"type": "function_call_output", "call_id": call.call_id, "output": _output(result)}
        for call, result in results
    ]


def _output(result: ToolResult) -> JSON:
    if not any(part.kind == "image" for part in result.parts):
        return result_text(result)
    error = [ResultPart(kind="text", text="Error:")] if result.is_error else []
    return [_output_part(part) for part in (*error, *result.parts)]


def _output_part(part: ResultPart) -> JSON:
    if part.kind == "image":
        part = IMAGES.applied(part)
    if part.kind != "image":
        return {"type": "input_text", "text": part.text}
    return {"type": "input_image", "image_url": f"data:{part.media_type};base64,{part.data}"}


def sequence_of_results(results: Sequence[JSON]) -> list[JSON]:
    """Return result items as the items that bring them."""
    return list(results)


def continue_request(
    request: Members, turn: Turn, results: Sequence[JSON], *, last: bool
) -> Members:
    """Return the next request: with the turn, its results, and no more tools if it is the last.

    A stored conversation has the turn already.
    """
    if member(request, "conversation") is not None:
        continued = as_raw(list(results))
    else:
        turn_items = _acceptable(request, answer_items(turn))
        continued = appended(_input(request), [*turn_items, *results])
    following = {**request, "input": continued}
    if last:
        following["tool_choice"] = as_raw("none")
    return following


def _input(request: Members) -> bytes:
    given = member(request, "input")
    if isinstance(given, str):
        return encode([{"role": "user", "content": given}]).encode()
    return bytes(request.get("input", b"[]"))


def _acceptable(request: Members, items: list[JSON]) -> list[JSON]:
    """Return items as the API takes them back.

    What is not stored cannot be named: without its encrypted content a reasoning item would be, and
    an id would be taken for that of one.
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


def alias_key(response_id: str) -> str:
    """Return the key of an answer that `previous_response_id` names."""
    return f"response:{response_id}"


def transcript(request: Members) -> Transcript:
    """Find earlier answers, what stands between two sayings of the client, and the last of these.

    Where the provider has stored an answer, only the client's results of its calls are there; they
    make an empty run before the first of them.
    """
    items = _items(request)
    shown = taken_down(_conversation(items))
    runs = sorted([*_runs_of_stored(request, items), *shown.runs], key=lambda run: run.start)
    return Transcript(runs, shown.said_since)


def _items(request: Members) -> list[dict[str, JSON]]:
    given = member(request, "input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [mapping(read(element)) for element in elements(request.get("input"))]


def _conversation(items: Sequence[dict[str, JSON]]) -> Iterator[PastAnswer | str]:
    start = 0
    for is_answer, group in groupby(items, is_models):
        part = list(group)
        end = start + len(part)
        if is_answer:
            calls = [text(item.get("call_id")) or "" for item in part if is_client_call(item)]
            yield PastAnswer(start=start, end=end, client_calls=calls, text=text_of(part))
        else:
            yield from _said(part)
        start = end


def _said(items: Sequence[dict[str, JSON]]) -> Iterator[str]:
    """Give what tells items from others: the person's words, and the calls that they answer."""
    for item in items:
        if item.get("role") == "user":
            yield typed_text(said_in(item.get("content"))) or ""
        elif call_id := text(item.get("call_id")):
            yield call_id


def _runs_of_stored(request: Members, items: Sequence[dict[str, JSON]]) -> list[Run]:
    """Find answers that the provider has stored: by their id, or by results of their calls."""
    previous = text(member(request, "previous_response_id"))
    runs = [Run(start=0, end=0, key=alias_key(previous))] if previous else []
    called: set[str] = set()
    for index, item in enumerate(items):
        call_id = text(item.get("call_id")) or ""
        is_result = not is_models(item) and item.get("role") != "user"
        if is_client_call(item):
            called.add(call_id)
        elif is_result and call_id and call_id not in called:
            called.add(call_id)
            runs.append(Run(start=index, end=index, key=run_key([call_id], "", "")))
    return runs


def restore(request: Members, found: Mapping[str, Restoration]) -> bool:
    """Put back what was hidden, in place; return whether anything was."""
    runs = [run for run in transcript(request).runs if run.key in found]
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
        put_back: list[JSON] = []
        if run.end > run.start:
            put_back += map(_legal_result, entry.sequence)
        elif not is_stored:  # the client's own calls are there as references; the hidden are not
            answered = _calls(entry.results)
            put_back += [item for item in entry.sequence if _calls([item]) & answered]
        results = map(_legal_result, entry.results)
        restored += [as_raw(item) for item in (*_acceptable(request, put_back), *results)]
        position = run.end
    if runs:
        request["input"] = joined([*restored, *_without(given[position:], calls)])
    return True


def _legal_result(item: JSON) -> JSON:
    """Return a result that was stored, perhaps by an older version, as the API takes it."""
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
    """Leave out calls that are put back elsewhere: clients may keep each with its result."""
    if not calls:
        return list(given)
    return [
        element
        for element in given
        if not (is_models(item := mapping(read(element))) and _calls([item]) & calls)
    ]
