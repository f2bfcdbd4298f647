"""Central tools in Converse. Sans-io.

A response is one assistant message, its calls are blocks of it, and their results are blocks of the
user message after it. The API has no choice that forbids calls: the last request of a loop only
has results that say so.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aibridge_addon.formats.bedrock_converse.splicer import Merger, Splicer
from aibridge_addon.formats.bedrock_converse.token_count import (
    CountedRequest,
    counted_request,
    replace_counted,
)
from aibridge_addon.formats.bedrock_converse.turn import call_ids, text_of
from aibridge_addon.formats.bedrock_invoke.tools import InvokeTools
from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.images import ImageLimits
from aibridge_addon.formats.openai_tools import result_text
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
    has_readable_tools,
)
from aibridge_addon.raw_json import (
    JSON,
    as_raw,
    body,
    elements,
    joined,
    mapping,
    member,
    members,
    read,
    sequence,
    text,
)

_MESSAGES, _CONFIG, _TOOLS = "messages", "toolConfig", "tools"
_CACHE = "cachePoint"
_IMAGES = ImageLimits(characters=5 * 1024 * 1024, pixels=8000)
_INVOKE = InvokeTools()


class ConverseTools(ToolFormat):
    """Offers central tools in Converse, and joins its messages."""

    restores_without_tools = False  # calls and results are refused where no tools are defined
    offers_first = True  # so that the client's cache points stay valid
    sees_images = False
    """True if the model reads images in results."""

    def may_offer(self, request: Members) -> bool:
        """Return whether the client lets the model choose.

        Not if it names the model's own tools beside those of Converse, nor with a stored prompt,
        which has its own.
        """
        more = mapping(member(request, "additionalModelRequestFields"))
        return (
            bool(elements(request.get(_MESSAGES)))
            and _TOOLS not in more
            and more.get("tool_choice") is None
            and member(request, "promptVariables") is None
        )

    def for_model(self, model: str | None) -> "ConverseTools":
        """Return the rules for a model: only some read images in results."""
        return _WITH_IMAGES if _reads_images(model or "") else self

    def tool_name(self, tool: JSON) -> str | None:
        """Return the name of a tool that a client defines."""
        return text(mapping(mapping(tool).get("toolSpec")).get("name"))

    def definition(self, tool: CentralTool) -> JSON:
        """Return the definition of a central tool; the API refuses an empty description."""
        description = self.limits.described(tool)
        return {
            "toolSpec": {
                "name": tool.name,
                **({"description": description} if description.strip() else {}),
                "inputSchema": {"json": dict(tool.input_schema)},
            }
        }

    def inject(self, request: Members, tools: Sequence[CentralTool]) -> tuple[CentralTool, ...]:
        """Offer tools in a request, in place; return the offered tools."""
        if (counted := counted_request(request)) is not None:
            offered = _tools_of(counted, self).inject(counted.members, tools)
            replace_counted(request, counted)
            return offered
        config = {} if member(request, _CONFIG) is None else members(request[_CONFIG])
        if config is None or not has_readable_tools(config) or not _leaves_choice(config):
            return ()
        own = elements(config.get(_TOOLS))
        free = tools if self.may_offer(request) else ()
        offered = self.limits.selected(free, [self.tool_name(read(tool)) for tool in own])
        if offered:
            added = self.definitions(offered)
            request[_CONFIG] = msgspec.Raw(body({**config, _TOOLS: joined([*added, *own])}))
        return offered

    def without_calls(self, request: Members, last: bool) -> Members:
        """Return the request unchanged: the API has no choice that forbids calls."""
        return request

    def splicer(self, names: frozenset[str]) -> Splicer:
        """Return a splicer that hides calls of these names."""
        return Splicer(names)

    def merger(self, names: frozenset[str]) -> Merger:
        """Return a merger that hides calls of these names."""
        return Merger(names)

    def turn_items(self, turn: Turn) -> list[JSON]:
        """Return a turn as a message; nothing for an empty turn, which the API refuses."""
        return [{"role": "assistant", "content": list(turn.items)}] if turn.items else []

    def result_items(self, results: Sequence[tuple[InjectedCall, ToolResult]]) -> list[JSON]:
        """Return results as the blocks of a user message; errors as text, as all models read it."""
        return [
            {"toolResult": {"toolUseId": call.call_id, "content": self._content(result)}}
            for call, result in results
        ]

    def result_messages(self, results: Sequence[JSON]) -> list[JSON]:
        """Return result items as one user message."""
        return [{"role": "user", "content": list(results)}]

    def transcript(self, request: Members) -> Transcript:
        """Find earlier responses, each an assistant message, and the text since the last one."""
        if (counted := counted_request(request)) is not None:
            return _tools_of(counted, self).transcript(counted.members)
        return build_transcript(_conversation(request))

    def restore(self, request: Members, found: Mapping[str, Restoration]) -> bool:
        """Put hidden turns back, in place; return whether anything changed."""
        if (counted := counted_request(request)) is not None:
            is_restored = _tools_of(counted, self).restore(counted.members, found)
            replace_counted(request, counted)
            return is_restored
        runs = {run.start: run for run in self.transcript(request).runs if run.key in found}
        if not runs:
            return False
        restored: list[msgspec.Raw] = []
        results: list[JSON] = []
        for index, element in enumerate(elements(request.get(_MESSAGES))):
            if run := runs.get(index):
                turns, results = _hidden_turns(found[run.key], mapping(read(element)))
                restored += map(as_raw, turns)
            elif results and (message := mapping(read(element))).get("role") == "user":
                content = [*results, *sequence(message.get("content"))]
                restored.append(as_raw({**message, "content": content}))
                results = []
            else:
                restored.append(element)
        request[_MESSAGES] = joined(restored)
        return True

    def _content(self, result: ToolResult) -> list[JSON]:
        """Return the parts of a result; a model that does not read images gets a description."""
        if result.is_error or not self.sees_images:
            return [{"text": _legal_text(result_text(result))}]
        return [_block(part) for part in result.parts]


class _ToolsWithImages(ConverseTools):
    """Rules for the models that read images in results."""

    sees_images = True


_WITH_IMAGES = _ToolsWithImages()


def _reads_images(model: str) -> bool:
    """Return whether a model reads images in results: Claude, and Nova but for its smallest."""
    return "anthropic.claude" in model or ("amazon.nova" in model and "nova-micro" not in model)


def _tools_of(counted: CountedRequest, own: ConverseTools) -> ToolFormat:
    return own if counted.is_converse else _INVOKE


def _leaves_choice(config: Members) -> bool:
    """Return whether the model may choose: a forced choice would be forced in each request."""
    choice = member(config, "toolChoice")
    return choice is None or list(mapping(choice)) == ["auto"]


def _hidden_turns(
    entry: Restoration, shown: dict[str, JSON]
) -> tuple[list[dict[str, JSON]], list[JSON]]:
    """Return the messages in place of a response, and the results for the user's next message."""
    turns = [mapping(message) for message in entry.sequence]
    results = list(entry.results)
    if turns and turns[-1].get("role") == "user":  # the response itself was empty
        results = [*sequence(turns.pop().get("content")), *results]
    points = [block for block in sequence(shown.get("content")) if _CACHE in mapping(block)]
    if turns and points:  # the client's cache point ends its message
        *before, own = turns
        turns = [*before, {**own, "content": [*sequence(own.get("content")), points[-1]]}]
    return turns, results


def _block(part: ResultPart) -> JSON:
    legal = _IMAGES.applied(part) if part.kind == "image" else part
    if legal.kind != "image":
        return {"text": _legal_text(legal.text)}
    source = {"bytes": legal.data}
    return {"image": {"format": legal.media_type.removeprefix("image/"), "source": source}}


def _legal_text(said: str) -> str:
    return said if said.strip() else "(no output)"


def _conversation(request: Members) -> Iterator[PastResponse | str]:
    for index, element in enumerate(elements(request.get(_MESSAGES))):
        message = mapping(read(element))
        blocks = sequence(message.get("content"))
        if message.get("role") == "assistant":
            calls, shown = call_ids(blocks), text_of(blocks)
            yield PastResponse(start=index, end=index + 1, client_calls=calls, text=shown)
        elif message.get("role") == "user":
            yield from _texts_of([mapping(block) for block in blocks])


def _texts_of(blocks: Sequence[dict[str, JSON]]) -> list[str]:
    """Return what distinguishes a message: the typed text, and the ids of the calls it answers."""
    words = typed_text([text(block["text"]) or "" for block in blocks if "text" in block])
    answered = [text(mapping(block.get("toolResult")).get("toolUseId")) for block in blocks]
    return [part for part in (words, *answered) if part]
