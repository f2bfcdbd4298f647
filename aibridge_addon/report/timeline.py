"""Timeline of a request: its prompt, upstream requests, thoughts, answers, tool calls and results.

Pure: joins the rows that are recorded with the content, as far as that was captured. What was not
captured is named, so that nothing looks empty that is unknown.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aibridge_addon.facts import ProviderError
from aibridge_addon.formats.content import Conversation, Message, Part
from aibridge_addon.report.content import read_answers, read_conversations
from aibridge_addon.report.diff import ConversationDiff, diff, system_text
from aibridge_addon.report.other_calls import may_have_prompt, why_unstored
from aibridge_addon.report.rows import CallRow, InterceptionDetail, TextRow, ToolCallRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Content that is not in the record."""

    content: str
    option: str
    """Value of `aibridge_capture` that records it."""
    reason: str | None = None
    """Set if no option records it."""

    @property
    def text(self) -> str:
        """The statement that a person reads."""
        reason = self.reason or f"aibridge_capture={self.option} records it"
        return f"{self.content} not recorded ({reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """Result of a tool call."""

    part: Part
    request_id: str
    """The request that brought it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call, with as much of its result as is known."""

    name: str
    arguments: str
    call_id: str | None
    central: bool = False
    server_side: bool = False
    server_url: str | None = None
    error: str | None = None
    duration_ms: int | None = None
    result_bytes: int | None = None
    result: ToolResult | None = None
    missing: Missing | None = None
    """Set if there was a result and it was not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A piece of an answer: a thought, a text, a tool call, or another part."""

    part: Part
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One request to the provider, with its answer."""

    number: int
    """Counted from 0, which is the client's own request."""
    calls: tuple[CallRow, ...]
    """Billed model calls: its own, and calls that the provider made by itself."""
    steps: tuple[Step, ...]
    stop_reason: str | None = None
    error: ProviderError | None = None
    cut: bool = False
    """True if the answer is known and did not reach its end."""
    missing: Missing | None = None
    """Set if the text of the answer was not recorded."""

    @property
    def is_empty(self) -> bool:
        """True if nothing is known of it, as of a request that was refused."""
        return not (self.calls or self.steps or self.error or self.missing)

    @property
    def own(self) -> CallRow | None:
        """The model call of the request itself; None if no usage was reported."""
        return next((call for call in self.calls if call.call is None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A request as a person reads it."""

    detail: InterceptionDetail
    prompts: tuple[str, ...]
    """Typed prompts, or the last user message if the conversation is known."""
    system: str | None
    """The system prompt, empty if the request has none; None: not recorded."""
    conversation: Conversation | None
    """The content that the client sent; None: not recorded."""
    diff: ConversationDiff | None
    """Changes since the previous request of the session; None: unknown or no comparison."""
    requests: tuple[UpstreamRequest, ...]
    missing: tuple[Missing, ...]


def timeline(
    detail: InterceptionDetail,
    previous: InterceptionDetail | None = None,
    following: InterceptionDetail | None = None,
) -> Timeline:
    """Return the timeline of a request, given its neighbours in the session."""
    sent = read_conversations(detail)
    current = sent.get(0)
    before = read_conversations(previous).get(0) if previous else None
    is_whole = current is not None and current.is_whole
    prompts = tuple(text.text for text in detail.texts if text.kind == "prompt")
    if not prompts and current and is_whole:
        prompts = tuple(_last_user_texts(current.conversation))
    return Timeline(
        detail=detail,
        prompts=prompts,
        system=system_text(current.conversation) if current and current.has_system else None,
        conversation=current.conversation if current and is_whole else None,
        diff=diff(before.conversation, current.conversation)
        if current and before and is_whole and before.is_whole
        else None,
        requests=tuple(_upstream_requests(detail, following)),
        missing=tuple(_missing(detail, has_prompt=bool(prompts), is_whole=is_whole)),
    )


def _last_user_texts(conversation: Conversation) -> Iterator[str]:
    """Yield the texts of the user message at the end, unless it is the result of a tool."""
    for message in reversed(conversation.messages):
        kinds = {part.kind for part in message.parts}
        if message.role in ("assistant", "tool") or "tool_result" in kinds:
            return
        if message.role == "user":
            yield from (part.text for part in message.parts if part.kind == "text")
            return


def _missing(detail: InterceptionDetail, *, has_prompt: bool, is_whole: bool) -> Iterator[Missing]:
    is_typed = detail.row.kind in ("turn", None) and not detail.correlating_tool_call_id
    is_typed = is_typed and may_have_prompt(detail.row.api)
    if is_typed and not has_prompt and not is_whole:
        yield Missing(content="typed prompt", option="prompts")
    if not is_whole:
        yield Missing(content="conversation", option="requests")


def _upstream_requests(
    detail: InterceptionDetail, following: InterceptionDetail | None
) -> Iterator[UpstreamRequest]:
    answers = read_answers(detail)
    owners = {a.response_id: number for number, a in answers.items() if a.response_id}
    owners |= {call.response_id: call.upstream for call in detail.calls if call.response_id}
    numbers = sorted({call.upstream for call in detail.calls} | set(answers)) or [0]
    results = dict(_results(following)) | dict(_results(detail, follow_ups_only=True))
    tools = _Tools(results, was_followed=following is not None)

    def is_of(row: TextRow | ToolCallRow, number: int) -> bool:
        return owners.get(row.response_id or "", numbers[0]) == number

    for number in numbers:
        mine = [tool for tool in detail.tools if is_of(tool, number)]
        texts = (text for text in detail.texts if text.kind != "prompt" and is_of(text, number))
        thoughts = [Part(kind="thinking", text=text.text) for text in texts]
        answer = answers.get(number)
        parts = answer.message.parts if answer else thoughts
        yield UpstreamRequest(
            number=number,
            calls=tuple(call for call in detail.calls if call.upstream == number),
            steps=tuple(tools.steps(parts, mine)),
            stop_reason=answer.stop_reason if answer else None,
            error=answer.error if answer else None,
            cut=answer is not None and not answer.complete,
            missing=None if answer else _missing_answer(detail),
        )


def _missing_answer(detail: InterceptionDetail) -> Missing | None:
    row = detail.row
    has_none = row.status in ("refused", None) or (row.http_status or 0) >= 400
    has_none = has_none or (row.http_status is None and not row.figures.output)
    if has_none:
        return None
    return Missing(content="answer", option="answers", reason=why_unstored(row.api))


def _results(
    detail: InterceptionDetail | None, *, follow_ups_only: bool = False
) -> Iterator[tuple[str, ToolResult]]:
    """Yield the tool results that a request, or its follow-up requests, contain."""
    if detail is None:
        return
    for number, sent in read_conversations(detail).items():
        if number or not follow_ups_only:
            for part in _parts(sent.conversation.messages):
                if part.kind == "tool_result" and part.call_id:
                    yield part.call_id, ToolResult(part=part, request_id=detail.row.id)


def _parts(messages: Iterable[Message]) -> Iterator[Part]:
    for message in messages:
        yield from message.parts


class _Tools:
    """Joins the tool calls of an answer with their rows and results."""

    def __init__(self, results: Mapping[str, ToolResult], *, was_followed: bool) -> None:
        self._results = results
        self._was_followed = was_followed

    def steps(self, parts: Iterable[Part], rows: Iterable[ToolCallRow]) -> Iterator[Step]:
        """Yield the parts of an answer; calls that it does not contain come last."""
        left = list(rows)
        for part in parts:
            if part.kind != "tool_call":
                yield Step(part=part)
                continue
            row = _take(left, part)
            yield Step(part=part, call=self._call(part, row))
        for row in left:
            part = Part(kind="tool_call", name=row.tool, text=row.input, call_id=row.call_id)
            yield Step(part=part, call=self._call(part, row))

    def _call(self, part: Part, row: ToolCallRow | None) -> ToolCall:
        result = self._results.get(part.call_id or "")
        has_result = self._was_followed or (row is not None and row.injected)
        has_result = has_result and not part.server_side and not (row and row.error)
        is_missing = has_result and result is None
        return ToolCall(
            name=row.tool if row else part.name or "",
            arguments=part.text,
            call_id=part.call_id,
            central=row is not None and row.injected,
            server_side=part.server_side,
            server_url=row.server_url if row else None,
            error=row.error if row else None,
            duration_ms=row.duration_ms if row else None,
            result_bytes=row.result_bytes if row else None,
            result=result,
            missing=Missing(content="result", option="results") if is_missing else None,
        )


def _take(rows: list[ToolCallRow], part: Part) -> ToolCallRow | None:
    """Remove and return the row of a call; calls without an id are joined by their names."""
    for at, row in enumerate(rows):
        if (row.call_id, row.tool)[part.call_id is None] == (part.call_id or part.name):
            return rows.pop(at)
    return None
