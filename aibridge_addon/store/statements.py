"""Turns facts into statements: a kind and named values, for a database or for the spool.

Every statement can be executed again without harm, so that reading a spool twice changes nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, get_args

from aibridge_addon.facts import (
    BackgroundResponse,
    Fact,
    HiddenTurns,
    Interception,
    InterceptionEnded,
    ModelThought,
    Price,
    ProcessSeen,
    RateLimitsSeen,
    TokenUsage,
    TokenUsageSoFar,
    ToolUsage,
    TunnelEnded,
    UserPrompt,
    milliseconds,
)
from aibridge_addon.raw_json import encode
from aibridge_addon.store.columns import (
    COLUMNS,
    HIDDEN_TURNS,
    INTERCEPTION_START,
    PRICES,
    PROCESS,
    PROMPT,
    THOUGHT,
    TOKENS,
    TOOL,
    TUNNEL,
)

type Row = tuple[str | int | bytes, ...]
type Values = dict[str, str | int | bytes | list[Row] | None]


type Kind = Literal[
    "interception",
    "interception_ended",
    "prompt_answered",
    "token_usage",
    "token_usage_so_far",
    "background_response",
    "background_ended",
    "user_prompt",
    "tool_usage",
    "hidden_turns",
    "model_thought",
    "rate_limits",
    "process_seen",
    "tunnel",
    "messages",
    "part",
    "search_text",
    "budget_hold",
    "budget_release",
]
KINDS: frozenset[str] = frozenset(get_args(Kind.__value__))
CONTENT_KINDS: frozenset[Kind] = frozenset({"messages", "part", "search_text"})
"""Statements of what was said, which may be large."""


class Statement(NamedTuple):
    """One change of the store."""

    kind: Kind
    values: Values


def with_new_columns(statement: Statement) -> Statement:
    """Add null for each column that a statement of an older version lacks."""
    nulls: Values = dict.fromkeys(COLUMNS.get(statement.kind, ()))
    return Statement(statement.kind, nulls | statement.values)


def statements(facts: Iterable[Fact | HiddenTurns]) -> list[Statement]:
    """Return the statements of some facts, in their order.

    Facts that a later one of them makes redundant get no statement: the start of an interception,
    since its end has the complete row; the later update of a prompt with the response's id; the
    usage that a stream reported before its end; and rate limits that a later response states too.
    """
    facts = list(facts)
    final = {fact.id for fact in facts if type(fact) is TokenUsage}
    ended = {fact.interception.id: fact for fact in facts if isinstance(fact, InterceptionEnded)}
    newest = {_limited(fact): fact for fact in facts if isinstance(fact, RateLimitsSeen)}
    made: list[Statement] = []
    for fact in facts:
        match fact:
            case Interception(id=id_) if id_ in ended:
                continue
            case TokenUsageSoFar(id=id_) if id_ in final:
                continue
            case RateLimitsSeen() if _is_superseded(fact, newest[_limited(fact)]):
                continue
            case UserPrompt(interception=Interception(id=id_)) if id_ in ended:
                made.append(_user_prompt(fact, ended.pop(id_).provider_response_id))
            case UserPrompt():
                made.append(_user_prompt(fact, None))
            case InterceptionEnded():
                made.append(_interception_ended(fact))
                if fact.prompted and fact.interception.id in ended:
                    made += _prompt_answered(fact)
                if fact.in_background and not fact.may_be_read_again:
                    values: Values = {"interception_id": fact.interception.id}
                    made.append(Statement("background_ended", values))
            case _:
                made.append(_MAKERS[type(fact)](fact))
    return made


def with_prices(made: Iterable[Statement], prices: Mapping[str, Price]) -> list[Statement]:
    """Return statements with the prices of usages, which are given by the ids of the usages."""
    return [
        Statement(kind, values | _values(prices[id_], PRICES))
        if (id_ := str(values.get("id"))) in prices
        else Statement(kind, values)
        for kind, values in made
    ]


def _limited(fact: RateLimitsSeen) -> tuple[str | None, ...]:
    """Return the key of everything that a rate limit holds for."""
    sent = fact.interception
    return sent.provider_name, sent.credential_kind, sent.credential_hint, sent.initiator_id


def _is_superseded(fact: RateLimitsSeen, newest: RateLimitsSeen) -> bool:
    return fact is not newest and fact.headers.keys() <= newest.headers.keys()


_CACHES = ("cache_read_input_tokens", "cache_write_input_tokens")
_JSON = frozenset({"metadata", "extra", "raw", "input"})
"""Columns that hold JSON."""


def _values(source: object, names: Iterable[str]) -> Values:
    """Return the values of columns that are named like the fields of a fact."""
    return {
        name: encode(getattr(source, name)) if name in _JSON else getattr(source, name)
        for name in names
    }


def _interception(fact: Interception) -> Statement:
    return Statement("interception", _values(fact, INTERCEPTION_START))


def _interception_ended(fact: InterceptionEnded) -> Statement:
    values = _values(fact.interception, INTERCEPTION_START)
    values |= {
        "metadata": encode(fact.metadata),
        "ended_at": fact.ended_at,
        "status": fact.status.value,
        "http_status": fact.http_status,
        "error_type": fact.error_type,
        "error_message": fact.error_message,
        "partial": fact.partial,
        "ttft_ms": milliseconds(fact.seconds_to_first_byte),
    }
    return Statement("interception_ended", values)


def _prompt_answered(fact: InterceptionEnded) -> list[Statement]:
    if fact.provider_response_id is None:
        return []
    values: Values = {
        "interception_id": fact.interception.id,
        "provider_response_id": fact.provider_response_id,
    }
    return [Statement("prompt_answered", values)]


def _child(
    fact: TokenUsage | UserPrompt | ToolUsage | ModelThought,
    *,
    response_id: str | None,
    metadata: Any = None,
) -> Values:
    return {
        "id": fact.id,
        "interception_id": fact.interception.id,
        "provider_response_id": response_id,
        "metadata": encode(metadata or {}),
        "created_at": fact.created_at,
    }


def _token_usage(fact: TokenUsage) -> Statement:
    metadata = {"call": fact.call} if fact.call else None
    values = _child(fact, response_id=fact.provider_response_id, metadata=metadata)
    values |= _values(fact, TOKENS) | dict.fromkeys(PRICES)
    if fact.input_tokens is None and fact.output_tokens is None:  # billed in another unit
        values |= dict.fromkeys(_CACHES)
    tier = fact.extra.get("service_tier")
    values["service_tier"] = tier if isinstance(tier, str) else None
    return Statement("token_usage", values)


def _token_usage_so_far(fact: TokenUsageSoFar) -> Statement:
    return Statement("token_usage_so_far", _token_usage(fact).values)


def _user_prompt(fact: UserPrompt, response_id: str | None) -> Statement:
    values = _child(fact, response_id=response_id) | _values(fact, PROMPT)
    return Statement("user_prompt", values)


def _tool_usage(fact: ToolUsage) -> Statement:
    values = _child(fact, response_id=fact.provider_response_id, metadata=fact.metadata)
    return Statement("tool_usage", values | _values(fact, TOOL))


def _model_thought(fact: ModelThought) -> Statement:
    values = _child(
        fact, response_id=fact.provider_response_id, metadata={"source": fact.source}
    ) | _values(fact, THOUGHT)
    return Statement("model_thought", values)


def _background_response(fact: BackgroundResponse) -> Statement:
    content = {
        "interception": asdict(fact.interception),
        "provider_response_id": fact.provider_response_id,
        "prompted": fact.prompted,
        "token_usage_id": fact.token_usage_id,
        "created_at": fact.created_at,
    }
    values: Values = {
        "provider_name": fact.interception.provider_name,
        "response_id": fact.provider_response_id,
        "interception_id": fact.interception.id,
        "content": encode(content),
        "created_at": fact.created_at,
    }
    return Statement("background_response", values)


def _rate_limits(fact: RateLimitsSeen) -> Statement:
    interception = fact.interception
    values: Values = {
        "provider_name": interception.provider_name,
        "credential_kind": interception.credential_kind or "",
        "credential_hint": interception.credential_hint or "",
        "initiator_id": interception.initiator_id,
        "headers": encode(fact.headers),
        "seen_at": fact.seen_at,
    }
    return Statement("rate_limits", values)


def _process_seen(fact: ProcessSeen) -> Statement:
    return Statement("process_seen", _values(fact, PROCESS))


def read_background_response(content: str) -> BackgroundResponse:
    """Return the fact that a row holds as JSON.

    Raises:
        TypeError: another version wrote the row, with other members.
    """
    values = json.loads(content)
    return BackgroundResponse(**values | {"interception": Interception(**values["interception"])})


def _hidden_turns(fact: HiddenTurns) -> Statement:
    return Statement("hidden_turns", _values(fact, HIDDEN_TURNS))


def _tunnel(fact: TunnelEnded) -> Statement:
    return Statement("tunnel", _values(fact, TUNNEL))


_MAKERS: dict[type, Callable[[Any], Statement]] = {
    Interception: _interception,
    BackgroundResponse: _background_response,
    TokenUsage: _token_usage,
    TokenUsageSoFar: _token_usage_so_far,
    ToolUsage: _tool_usage,
    ModelThought: _model_thought,
    RateLimitsSeen: _rate_limits,
    ProcessSeen: _process_seen,
    TunnelEnded: _tunnel,
    HiddenTurns: _hidden_turns,
}
