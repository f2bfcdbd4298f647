"""Timelines of requests and sessions as trees for a terminal."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from aibridge_addon.cli.tree import Branch
from aibridge_addon.formats.content import Message, Part
from aibridge_addon.report.diff import ConversationDiff
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import UNKNOWN, usd
from aibridge_addon.report.notes import at_least
from aibridge_addon.report.numbers import count, duration, percent, size
from aibridge_addon.report.readable_json import readable
from aibridge_addon.report.rows import CallRow, RequestRow, SessionRow
from aibridge_addon.report.timeline import Step, Timeline, ToolCall, UpstreamRequest

_GOOD, _BAD, _CALL, _DIM = "green", "red", "cyan", "bright_black"
_KINDS = {"thinking": "Thought", "text": "Answer", "tool_result": "Result"}


def request_tree(timeline: Timeline, *, in_session: bool = False) -> Branch:
    """Return the tree of a request; in a session, without what the request before it shows."""
    return Branch(
        title=request_title(timeline.detail.row),
        branches=[
            *_input(timeline, in_session=in_session),
            *(_upstream(r, timeline) for r in timeline.requests if not r.is_empty),
            *_error(timeline.detail.row),
            *([] if in_session else _same_prompt(timeline.detail.same_prompt)),
        ],
    )


def _same_prompt(rows: tuple[RequestRow, ...]) -> Iterator[Branch]:
    if rows:
        text = "\n".join(
            f"{local_time(row.started_at)} {row.id} {row.kind or 'request'} {outcome(row)}"
            for row in rows
        )
        yield Branch(f"Other requests of the same prompt ({count(len(rows))})", text)


def session_title(session: SessionRow) -> str:
    """Return the line that identifies a session, with its sums."""
    figures = session.figures
    parts = [
        f"Session {session.id}",
        session.actor,
        session.client,
        f"{local_time(session.started_at)} to {local_time(session.latest_at)}",
        f"{count(figures.requests)} requests",
        *([f"{count(figures.not_completed)} not completed"] if figures.not_completed else []),
        tokens_text(figures),
        cost_text(figures),
    ]
    return " · ".join(parts)


def request_title(row: RequestRow) -> str:
    """Return the line that identifies a request."""
    parts = [
        local_time(row.started_at),
        row.kind or "request",
        row.actor,
        row.client,
        row.model or "unknown model",
        outcome(row),
        duration(row.duration_ms) if row.ended_at else "",
        cost_text(row.figures),
        f"id {row.id}",
    ]
    return " · ".join(part for part in parts if part)


def outcome(row: RequestRow) -> str:
    """Return the end of a request in words, with the HTTP status of a failure."""
    if row.status is None:
        return "open"
    failed = row.status != "completed" and row.http_status is not None
    return f"{row.status} ({row.http_status})" if failed else row.status


def cost_text(figures: Figures) -> str:
    """Return the money of one or more requests; unknown prices are stated."""
    parts = []
    if figures.cost_nano_usd is not None:
        parts.append(usd(figures.cost_nano_usd))
    if figures.list_price_nano_usd is not None:
        parts.append(f"{usd(figures.list_price_nano_usd)} list price, not billed")
    if figures.unpriced:
        several = figures.requests > 1 or parts
        parts.append(
            f"{'+ ' if parts else ''}{count(figures.unpriced) if several else ''} unpriced"
        )
    return " ".join(parts).strip() or UNKNOWN


def tokens_text(figures: Figures) -> str:
    """Return tokens in words; unknown is a dash."""
    if figures.tokens_unknown:
        return f"tokens {UNKNOWN}"
    cached = f" ({percent(figures.cache_hit_rate)} cached)" if figures.cache_read else ""
    given = at_least(figures, count(figures.known(figures.total_input)))
    return f"{given} in{cached}, {at_least(figures, count(figures.known(figures.output)))} out"


def local_time(moment: str) -> str:
    """Return a time of the records in local time, to the second."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def _input(timeline: Timeline, *, in_session: bool) -> Iterator[Branch]:
    for prompt in timeline.prompts:
        yield Branch("Prompt", prompt)
    for missing in timeline.missing:
        if not (in_session and missing.option == "requests"):
            yield Branch(_sentence(missing.text), color=_DIM)
    diff = timeline.diff
    if timeline.system:
        changed = diff is not None and bool(diff.system)
        state = ", changed since the last request" if changed else ", unchanged" if diff else ""
        text = "" if diff and not changed else timeline.system
        if text or not in_session:
            yield Branch(f"System prompt ({size(len(timeline.system))}{state})", text)
    if diff:
        yield from changes_tree(replace(diff, messages=()) if in_session else diff)


def changes_tree(diff: ConversationDiff) -> Iterator[Branch]:
    """Yield the changes of the conversation since the previous request."""
    added, removed = diff.of_kind("added"), diff.of_kind("removed")
    head = "the provider holds the earlier messages" if diff.continues else f"{diff.kept} kept"
    messages = [_message(message, "+") for message in added]
    messages += [_message(message, "-") for message in removed]
    if messages:
        title = f"Messages: {len(added)} added, {len(removed)} removed, {head}"
        yield Branch(title, branches=messages)
    if diff.system:
        signs = {"added": "+", "removed": "-", "same": " ", "skipped": "…"}
        text = "\n".join(f"{signs[line.kind]} {line.text}" for line in diff.system)
        yield Branch("Changes of the system prompt", text)
    for name, values in (("tools", diff.tools), ("parameters", diff.parameters)):
        if values:
            text = "\n".join(_change(v.name, v.before, v.after) for v in values)
            yield Branch(f"Changed {name}", text)


def _change(name: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+ {name}: {after}"
    return f"- {name}" if after is None else f"~ {name}: {before} → {after}"


def _message(message: Message, sign: str) -> Branch:
    branches = [_part(part) for part in message.parts]
    return Branch(f"{sign} {message.role}", branches=branches)


def _part(part: Part) -> Branch:
    title = _KINDS.get(part.kind, part.kind.replace("_", " "))
    title = "Text" if part.kind == "text" else title
    facts = [title, part.name or "", part.media_type or "", size(part.size) if part.size else ""]
    return Branch(" ".join(fact for fact in facts if fact), part.text)


def _upstream(request: UpstreamRequest, timeline: Timeline) -> Branch:
    own = request.own
    title = [f"Upstream request {request.number + 1}"]
    if own:
        title += [own.model or "", *_call_facts(own)]
    branches = [_step(step) for step in request.steps]
    if request.missing:
        branches.insert(0, Branch(_sentence(request.missing.text), color=_DIM))
    branches += [
        Branch(" · ".join([f"Model call by the provider: {call.call}", *_call_facts(call)]))
        for call in request.calls
        if call is not own
    ]
    if request.error:
        branches.append(Branch(f"Error {request.error.type or ''}", request.error.message or ""))
    if request.cut:
        branches.append(Branch("The response broke off here", color=_BAD))
    elif request.stop_reason:
        branches.append(Branch(f"Stopped: {request.stop_reason}", color=_DIM))
    if not own and timeline.detail.row.figures.without_usage:
        title.append("no usage reported")
    return Branch(" · ".join(part for part in title if part), branches=branches)


def _call_facts(call: CallRow) -> Iterator[str]:
    if call.is_in_tokens:
        yield f"{count(call.prompt_tokens)} in, {count(call.output)} out"
    else:
        yield ", ".join(f"{name} {amount}" for name, amount in call.extra.items())
    if call.cache_read or call.cache_write:
        yield f"cache {count(call.cache_read)} read, {count(call.cache_write)} written"
    if call.ttft_ms is not None:
        yield f"first byte {duration(call.ttft_ms)}"
    if call.duration_ms is not None:
        yield duration(call.duration_ms)
    if call.cost_nano_usd is None:
        yield f"unpriced: {call.unpriced_reason or 'no price recorded'}"
        return
    yield f"{usd(call.cost_nano_usd)} ({call.price_source or 'source unknown'})"
    if call.provider_cost_nano_usd is not None:
        yield f"{usd(call.provider_cost_nano_usd)} by the provider"


def _step(step: Step) -> Branch:
    if step.call:
        return _tool_call(step.call)
    if step.part.kind in _KINDS:
        return Branch(f"{_KINDS[step.part.kind]} ({size(len(step.part.text))})", step.part.text)
    return _part(step.part)


def _tool_call(call: ToolCall) -> Branch:
    where = "central tool" if call.central else "provider's tool" if call.server_side else "tool"
    facts = [f"Call of {where} {call.name}"]
    if call.server_url:
        facts.append(f"at {call.server_url}")
    if call.duration_ms is not None:
        facts.append(duration(call.duration_ms))
    if call.result_bytes is not None:
        facts.append(size(call.result_bytes))
    result = []
    if call.error is not None:
        result.append(Branch("Error", call.error, color=_BAD))
    if call.result:
        part = call.result.part
        title = "Result, an error" if part.is_error else "Result"
        result.append(Branch(f"{title} ({size(len(part.text))})", part.text))
    elif call.missing:
        result.append(Branch(_sentence(call.missing.text), color=_DIM))
    elif not call.central and not call.server_side:
        result.append(Branch("No later request of the session brought its result", color=_DIM))
    return Branch(" · ".join(facts), readable(call.arguments), branches=result, color=_CALL)


def _error(row: RequestRow) -> Iterator[Branch]:
    if row.error_type or row.error_message:
        yield Branch(f"Error {row.error_type or ''}", row.error_message or "", color=_BAD)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
