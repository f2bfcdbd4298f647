"""Decides the purpose of a request: a typed turn, or one that the client program makes by itself.

Claude Code and Codex declare it in headers (Codex over WebSocket in the body's `client_metadata`).
Header names are given in lower case. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aibridge_addon.facts import RequestFacts, RequestKind
from aibridge_addon.providers.identity import Headers
from aibridge_addon.raw_json import mapping, read, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Purpose of a request, and the ids that join it to others."""

    kind: RequestKind
    prompt_id: str | None = None
    agent_id: str | None = None


_CLAUDE_CODE_CLASSES: Mapping[str, RequestKind] = {
    "main": "turn",
    "subagent": "subagent",
    "compaction": "compaction",
    "auxiliary": "side",
}
_CODEX_KINDS: Mapping[str, RequestKind] = {
    "turn": "turn",
    "prewarm": "warmup",
    "compaction": "compaction",
    "memory": "memory",
}


def purpose_of(headers: Headers, facts: RequestFacts) -> Purpose:
    """Return the purpose of a request by its headers and what was read from its body."""
    codex = _codex_metadata(headers, facts)
    prompt_id = headers.get("x-claude-code-prompt-id", "").strip()
    agent_id = headers.get("x-claude-code-agent-id", "").strip()
    declared = _claude_code_kind(headers, agent_id) or _codex_kind(codex)
    return Purpose(
        kind=facts.request_kind or declared or "turn",
        prompt_id=prompt_id or codex.get("root_turn_id") or codex.get("turn_id") or None,
        agent_id=agent_id or None,
    )


def _claude_code_kind(headers: Headers, agent_id: str) -> RequestKind | None:
    if "x-claude-code-compaction" in headers:
        return "compaction"
    declared = headers.get("x-claude-code-request-class", "").strip()
    return _CLAUDE_CODE_CLASSES.get(declared) or ("subagent" if agent_id else None)


def _codex_kind(metadata: Mapping[str, str]) -> RequestKind | None:
    kind = _CODEX_KINDS.get(metadata.get("request_kind", ""))
    if kind == "turn" and metadata.get("thread_source") == "thread_title":
        return "title"
    return kind


def _codex_metadata(headers: Headers, facts: RequestFacts) -> Mapping[str, str]:
    """Return Codex's description of the turn; over WebSocket only the body has the current one."""
    given = facts.client_metadata.get("x-codex-turn-metadata") or headers.get(
        "x-codex-turn-metadata", ""
    )
    if not given.startswith("{"):
        return {}
    found = mapping(read(given.encode("utf-8", "replace")))
    return {name: value for name in found if (value := text(found[name]))}
