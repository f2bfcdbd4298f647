"""Decides the purpose of a request, and finds the text that a person typed in it. Pure.

Claude Code and Codex declare the purpose in headers (Codex over WebSocket in the body's
`client_metadata`); Claude Code does so only towards its own provider's host. For all others, and
for older versions, a table of text prefixes decides. Header names are in lower case.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aibridge_addon.facts import RequestFacts, RequestKind
from aibridge_addon.formats.prompts import since_compaction, typed_text
from aibridge_addon.providers.credentials import Headers
from aibridge_addon.raw_json import mapping, read, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Purpose of a request, its typed text, and the ids that join it to other requests."""

    kind: RequestKind
    prompt_id: str | None = None
    agent_id: str | None = None
    typed: tuple[str, ...] = ()
    """Text that a person typed, by message, oldest first; earlier requests may have had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prefix:
    """Prefix of a text that a client program writes by itself."""

    kind: RequestKind
    prefixes: tuple[str, ...]
    clients: tuple[str, ...] = ()
    """Client programs; empty for all, since SDKs and unknown programs send such texts too."""
    in_system: bool = False
    """True for a text of the system prompt, false for a text of a user message."""
    is_all: bool = False
    """True if no text follows, since a person may type a text with this prefix."""
    without_system: bool = False
    """True if it counts only in a request without a system prompt."""
    before: re.Pattern[str] | None = None
    """Pattern that the rest must contain, since a person may type the prefix."""

    def matches(self, text: str) -> bool:
        """Return whether a text, without blanks around it, is this one."""
        if not text.startswith(self.prefixes):
            return False
        if self.is_all:
            return text in self.prefixes
        return self.before is None or self.before.search(text) is not None


_PREFIXES = (
    _Prefix(
        kind="title",
        clients=("Claude Code",),
        prefixes=("<session>",),
        before=re.compile(r"</session>\s+[^<]*\btitle\b"),
    ),
    _Prefix(kind="title", clients=("Claude Code",), prefixes=("Please write a 5-10 word title",)),
    _Prefix(
        kind="title",
        in_system=True,
        prefixes=(
            "You are naming a coding session",  # Claude Code
            "Generate a concise, sentence-case title",
            "Analyze if this message indicates a new conversation topic",
            "Summarize this coding conversation in under 50 characters",
            "You are a title generator. You output ONLY a thread title.",  # opencode
            "You are an expert in crafting pithy titles for chatbot conversations",  # Copilot
        ),
    ),
    _Prefix(
        kind="title",
        prefixes=(
            "Generate a title for this conversation:",  # opencode
            "Generate a concise title for the following content:",  # Crush
            "Generate a concise, single-line task title",  # Codex
            "Generate a concise 3-7 word title for this conversation",  # Zed
            "### Task:\nGenerate a concise, 3-5 word title",  # Open WebUI
        ),
    ),
    _Prefix(
        kind="compaction",
        prefixes=(
            "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.",  # Claude Code
            "Your task is to create a detailed summary of the conversation so far",
            "You are performing a CONTEXT CHECKPOINT COMPACTION",  # Codex
            "Provide a detailed prompt for continuing our conversation above",  # opencode
        ),
    ),
    _Prefix(
        kind="compaction",
        in_system=True,
        prefixes=(
            "You are a helpful AI assistant tasked with summarizing conversations",  # Claude Code
            "You are the component that summarizes internal chat history",  # Qwen Code
        ),
    ),
    _Prefix(
        kind="memory",
        prefixes=(
            "Managed memory directory:",  # Qwen Code
            "You are now acting as the memory extraction subagent",  # Claude Code
        ),
    ),
    _Prefix(
        kind="memory",
        in_system=True,
        prefixes=("You are now acting as the managed memory extraction subagent",),  # Qwen Code
    ),
    _Prefix(kind="warmup", clients=("Claude Code",), prefixes=("Warmup",), is_all=True),
    _Prefix(
        kind="side",
        clients=("Claude Code",),
        prefixes=("[SUGGESTION MODE:", "The user stepped away and is coming back"),
    ),
    _Prefix(
        kind="side",
        clients=("Claude Code",),
        prefixes=("quota",),
        is_all=True,
        without_system=True,
    ),
    _Prefix(
        kind="side",
        in_system=True,
        prefixes=(
            "Extract any file paths that this command reads or modifies",  # Claude Code
            "You are a specialized Task Routing AI.",  # Gemini CLI
        ),
    ),
    _Prefix(
        kind="side",
        prefixes=(
            # Qwen Code and Gemini CLI: the next speaker
            "Analyze *only* the content and structure of your immediately preceding response",
        ),
    ),
)

_INSIDE = ("task", "user_message", "feedback", "answer")
_INSIDE_CLIENTS = ("Cline", "Kilo Code", "Roo Code")
"""Tags of these clients around the typed text."""

_CLAUDE_CODE_CLASSES: Mapping[str, RequestKind] = {
    "main": "turn",
    "subagent": "subagent",
    "workflow": "subagent",
    "compaction": "compaction",
    "auxiliary": "side",
    "side_reply": "side",
}
_CODEX_KINDS: Mapping[str, RequestKind] = {
    "turn": "turn",
    "prewarm": "warmup",
    "compaction": "compaction",
    "memory": "memory",
}
_CODEX_THREADS: Mapping[str, RequestKind] = {
    "thread_title": "title",
    "memory_consolidation": "memory",
    "guardian_review": "side",
    "subagent": "subagent",
}
_CODEX_SUBAGENTS: Mapping[str, RequestKind] = {
    "compact": "compaction",
    "memory_consolidation": "memory",
}
_COPILOT_INTERACTIONS: Mapping[str, RequestKind] = {
    "conversation-user": "turn",
    "conversation-agent": "turn",
    "conversation-subagent": "subagent",
    "conversation-compaction": "compaction",
}

_TURN_ORIGIN = re.compile(r"x-anthropic-billing-header:.*\bcc_turn_origin=(\w+)")
_TYPED_ORIGINS = ("human", "sdk")


def purpose_of(client: str, headers: Headers, facts: RequestFacts) -> Purpose:
    """Return the purpose of a request, by its client, headers and body."""
    codex = _codex_metadata(headers, facts)
    kind = _declared_kind(headers, facts, codex) or _kind_by_text(client, facts) or "turn"
    agent_id = headers.get("x-claude-code-agent-id", "").strip()
    if kind == "subagent":
        agent_id = agent_id or codex.get("thread_id", "")
    prompt_id = headers.get("x-claude-code-prompt-id", "").strip()
    return Purpose(
        kind=kind,
        prompt_id=prompt_id
        or codex.get("root_turn_id")
        or codex.get("turn_id")
        or facts.prompt_id
        or None,
        agent_id=agent_id or None,
        typed=_typed(client, facts) if kind == "turn" else (),
    )


def _declared_kind(
    headers: Headers, facts: RequestFacts, codex: Mapping[str, str]
) -> RequestKind | None:
    return (
        facts.request_kind
        or _claude_code_kind(headers, facts)
        or _codex_kind(headers, facts, codex)
        or _COPILOT_INTERACTIONS.get(headers.get("x-interaction-type", ""))
    )


def _claude_code_kind(headers: Headers, facts: RequestFacts) -> RequestKind | None:
    if "x-claude-code-compaction" in headers or "x-cc-compaction-request" in headers:
        return "compaction"
    declared = _CLAUDE_CODE_CLASSES.get(headers.get("x-claude-code-request-class", "").strip())
    if declared == "side":
        return _kind_by_text("Claude Code", facts) or declared
    is_agent = headers.get("x-claude-code-agent-id", "").strip() or any(
        "cc_is_subagent=true" in text for text in facts.system[:1]
    )
    return declared or ("subagent" if is_agent else None)


def _codex_kind(
    headers: Headers, facts: RequestFacts, metadata: Mapping[str, str]
) -> RequestKind | None:
    kind = _CODEX_KINDS.get(metadata.get("request_kind", ""))
    if kind not in (None, "turn"):
        return kind
    subagent = facts.client_metadata.get("x-openai-subagent") or headers.get("x-openai-subagent")
    if subagent:
        return _CODEX_SUBAGENTS.get(subagent, "subagent")
    if "subagent_kind" in metadata:
        return "subagent"
    return _CODEX_THREADS.get(metadata.get("thread_source", "")) or kind


def _codex_metadata(headers: Headers, facts: RequestFacts) -> Mapping[str, str]:
    """Return Codex's description of the turn; over WebSocket only the body has the current one."""
    given = facts.client_metadata.get("x-codex-turn-metadata") or headers.get(
        "x-codex-turn-metadata", ""
    )
    if not given.startswith("{"):
        return {}
    found = mapping(read(given.encode("utf-8", "replace")))
    return {name: value for name in found if (value := text(found[name]))}


def _kind_by_text(client: str, facts: RequestFacts) -> RequestKind | None:
    user_texts = [part.strip() for parts in facts.user_texts for part in parts]
    system = [text.strip() for text in facts.system]
    for row in _PREFIXES:
        if row.without_system and facts.system:
            continue
        texts = system if row.in_system else user_texts
        if (not row.clients or client in row.clients) and any(map(row.matches, texts)):
            return row.kind
    return None


def _typed(client: str, facts: RequestFacts) -> tuple[str, ...]:
    origin = _TURN_ORIGIN.match(facts.system[0]) if facts.system else None
    if origin and origin[1] not in _TYPED_ORIGINS:
        return ()
    inside = _INSIDE if client in _INSIDE_CLIENTS else ()
    found = (typed_text(parts, inside=inside) for parts in since_compaction(facts.user_texts))
    return tuple(typed for typed in found if typed)
