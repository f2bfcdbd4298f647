"""Comments and marks of flows: money, tokens, inner loop and actor, from the facts.

A comment that a person wrote or changed stays. Notes last as long as their flow is in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, WeakValueDictionary

from mitmproxy import flow as mitm_flow
from mitmproxy import http

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import (
    Interception,
    InterceptionEnded,
    Price,
    Status,
    TokenUsage,
    UsagePriced,
    known_sum,
)
from aibridge_addon.report.money import short_usd, usd
from aibridge_addon.report.numbers import short_count
from aibridge_addon.views.conversation_text import usage_line

_NOTES = "aibridge_notes"
"""Key of the flow's metadata, which is saved with the flow."""
_FAILED, _REFUSED, _INNER = ":x:", ":no_entry:", ":repeat:"
_MARKS = {Status.FAILED: _FAILED, Status.REFUSED: _REFUSED, Status.INTERRUPTED: _FAILED}

_MOST = 300
"""Characters of a comment."""

type Update = Callable[[http.HTTPFlow], None]
"""Tells mitmproxy's interfaces that a flow has changed."""


def notes_of(flow: mitm_flow.Flow | None) -> list[str]:
    """Return the lines about usage and money that were noted for a flow."""
    return list(flow.metadata.get(_NOTES, ())) if flow else []


@dataclass(slots=True)
class _Note:
    """The facts about the interceptions of a flow."""

    interception: Interception
    upstream: int
    """Number of the upstream request; 0 for the client's own flow, which sums up all."""
    usages: dict[str, tuple[TokenUsage, Price | None]] = field(default_factory=dict)
    end: InterceptionEnded | None = None
    comment: str = ""
    """The comment as it was written last."""


class FlowNotes:
    """Writes comments, marks and notes of flows."""

    def __init__(self, update: Update) -> None:
        self._update = update
        self._notes: WeakKeyDictionary[http.HTTPFlow, _Note] = WeakKeyDictionary()
        self._flows: WeakValueDictionary[tuple[str, int], http.HTTPFlow] = WeakValueDictionary()
        """By interception, and number of the upstream request."""
        self.handlers: Handlers = {
            TokenUsage: self._on_usage,
            UsagePriced: self._on_price,
            InterceptionEnded: self._on_end,
        }

    def attach(self, flow: http.HTTPFlow, interception: Interception, upstream: int = 0) -> None:
        """Note the facts of an interception on a flow, or of one upstream request of it."""
        self._flows[interception.id, upstream] = flow
        known = self._notes.get(flow)
        if known and flow.websocket:  # a further request in it
            known.interception = interception
            return
        comment = known.comment if known else ""  # known: somebody replays it
        self._notes[flow] = note = _Note(interception, upstream, comment=comment)
        flow.metadata.pop(_NOTES, None)  # a copy has those of its original
        if upstream:
            flow.marked = flow.marked or _INNER
            flow.comment = ""
            self._write(flow, note)

    def _on_usage(self, usage: TokenUsage) -> None:
        self._note_usage(usage, None)

    def _on_price(self, fact: UsagePriced) -> None:
        self._note_usage(fact.usage, fact.price)

    def _note_usage(self, usage: TokenUsage, price: Price | None) -> None:
        for upstream in {0, usage.upstream}:
            flow = self._flows.get((usage.interception.id, upstream))
            if flow and (note := self._notes.get(flow)):
                note.usages[usage.id] = (usage, price)
                if upstream or note.end:
                    self._write(flow, note)

    def _on_end(self, fact: InterceptionEnded) -> None:
        flow = self._flows.get((fact.interception.id, 0))
        if flow and (note := self._notes.get(flow)):
            note.end = fact
            flow.marked = flow.marked or _MARKS.get(fact.status, "")
            self._write(flow, note)

    def _write(self, flow: http.HTTPFlow, note: _Note) -> None:
        flow.metadata[_NOTES] = list(_note_lines(note))
        if flow.comment == note.comment:  # otherwise a person has written one
            flow.comment = note.comment = _comment(note)
        self._update(flow)


def _comment(note: _Note) -> str:
    """Return the comment; its first 20 characters say most."""
    end = note.end
    short = [_money(note), _tokens(note), _loop(note), note.interception.initiator_id]
    long = [note.interception.model, note.interception.request_kind]
    if end and end.status is not Status.COMPLETED:
        long.insert(0, " ".join(filter(None, (end.status.value, end.error_type))))
    comment = " · ".join(filter(None, (" ".join(filter(None, short)), *long)))
    # Clients and providers choose some of its words, and terminals show it.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in comment[:_MOST])


def _money(note: _Note) -> str:
    prices = [price for _, price in note.usages.values()]
    costs = [price.cost_nano_usd if price else None for price in prices]
    known = [cost for cost in costs if cost is not None]
    if not known:
        return ""
    money = short_usd(sum(known)) + "+" * (len(known) < len(costs))
    return f"({money})" if note.interception.credential_kind == "subscription" else money


def _tokens(note: _Note) -> str:
    if not note.usages:
        return "—" if note.end and note.end.usage_is_unknown else ""
    usages = [usage for usage, _ in note.usages.values()]
    in_tokens = [u for u in usages if (u.input_tokens, u.output_tokens) != (None, None)]
    if not in_tokens:
        return ""
    given = known_sum(*(usage.prompt_tokens for usage in in_tokens))
    output = known_sum(*(usage.output_tokens for usage in in_tokens))
    return f"{short_count(given)}→{short_count(output)}"


def _loop(note: _Note) -> str:
    if note.upstream:
        return f"↻{note.upstream} of {note.interception.id[-8:]}"
    loops = max((usage.upstream for usage, _ in note.usages.values()), default=0)
    return f"↻{loops}" if loops else ""


def _note_lines(note: _Note) -> list[str]:
    """Return tokens and money of each model call, for the content view."""
    lines = []
    for usage, price in note.usages.values():
        lines.append(
            usage_line(usage) + (f" · upstream request {usage.upstream}" if usage.upstream else "")
        )
        if price:
            lines.append(_price_line(price, note.interception))
    return lines


def _price_line(price: Price, interception: Interception) -> str:
    if price.cost_nano_usd is None:
        line = f"cost: unknown ({price.unpriced_reason})"
    elif interception.credential_kind == "subscription":
        line = f"list price, not billed: {usd(price.cost_nano_usd)} ({price.price_source})"
    else:
        line = f"cost: {usd(price.cost_nano_usd)} ({price.price_source})"
    if price.provider_cost_nano_usd is not None:
        line += f" · the provider states {usd(price.provider_cost_nano_usd)}"
    return line
