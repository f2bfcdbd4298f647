"""Decides whether a typed prompt is new, or was recorded with an earlier request. Pure.

- With the client's id of the prompt, its text under that id is recorded once. The store keeps it
  once too, so that this holds for other processes and after a restart.
- In a session without such ids, the same text at the same place in the conversation is a retry as
  long as no request with it has been answered.
- Without a session, only what the client calls a retry is one: the same question may be asked
  again on purpose.
"""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import Interception, InterceptionEnded, Status
from aibridge_addon.providers.request_kind import Purpose

_MOST = 10_000
"""Digests that are remembered."""


class NewPrompt(NamedTuple):
    """What a person typed and no earlier request has brought."""

    text: str
    digest: str | None
    """Names it in the store; None where a retry cannot be told."""


class TypedPrompts:
    """Remembers which typed prompts were recorded."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._unanswered: OrderedDict[str, str] = OrderedDict()
        """Digests by interception; a completed response makes them unknown again."""
        self.handlers: Handlers = {InterceptionEnded: self.on_ended}

    def new(
        self, asks: Interception, purpose: Purpose, *, position: str | None, is_retry: bool = False
    ) -> NewPrompt | None:
        """Return what was typed for the first time in a request; None if nothing was.

        `is_retry` tells that the client says of a request that it is a retry.
        """
        if not purpose.typed:
            return None
        *earlier, last = purpose.typed
        if not (asks.prompt_id or asks.client_session_id):
            return self._new_without_session(asks, purpose, position or "", is_retry=is_retry)
        unseen = [text for text in earlier if not self._has_said(asks, text)]
        digest = _digest_by_id(asks, last)
        if self._is_new(asks, digest or _digest_by_place(asks, purpose, position)):
            unseen.append(last)
        for text in purpose.typed:
            _remember(self._seen, _said(asks, text))
        return NewPrompt("\n".join(unseen), digest) if unseen else None

    def on_ended(self, fact: InterceptionEnded) -> None:
        """Forget the place of a prompt that was answered: the same text there is typed again."""
        digest = self._unanswered.pop(fact.interception.id, None)
        if digest and fact.status is Status.COMPLETED:
            self._seen.pop(digest, None)

    def _is_new(self, asks: Interception, digest: str | None) -> bool:
        if digest is None:
            return True
        if not asks.prompt_id:
            _remember(self._unanswered, asks.id, digest)
        return _remember(self._seen, digest)

    def _new_without_session(
        self, asks: Interception, purpose: Purpose, position: str, *, is_retry: bool
    ) -> NewPrompt | None:
        whose = (asks.initiator_id, asks.user_agent, asks.provider_name)
        is_new = _remember(self._seen, _digest(*whose, "none", position, *purpose.typed))
        if is_retry and not is_new:
            return None
        return NewPrompt("\n".join(purpose.typed), None)

    def _has_said(self, asks: Interception, text: str) -> bool:
        """Whether a message that is not the last was typed before in this session."""
        return bool(asks.client_session_id) and _said(asks, text) in self._seen


def _remember(known: OrderedDict[str, str], key: str, value: str = "") -> bool:
    """Set a value, as the newest of a bounded number; return whether the key is new."""
    is_new = key not in known
    known[key] = value
    known.move_to_end(key)
    if len(known) > _MOST:
        known.popitem(last=False)
    return is_new


def _digest_by_id(asks: Interception, text: str) -> str | None:
    if not asks.prompt_id:
        return None
    return _digest(asks.initiator_id, asks.client, "prompt", asks.prompt_id, text)


def _digest_by_place(asks: Interception, purpose: Purpose, position: str | None) -> str | None:
    if position is None:  # only the server knows the place
        return None
    whose = (asks.initiator_id, asks.client, "session", asks.client_session_id)
    return _digest(*whose, position, *purpose.typed)


def _said(asks: Interception, text: str) -> str:
    return _digest(asks.initiator_id, asks.client, "said", asks.client_session_id, text)


def _digest(*parts: str | None) -> str:
    named = "\0".join(f"{len(part)}:{part}" if part is not None else "-" for part in parts)
    return hashlib.blake2b(named.encode("utf-8", "replace"), digest_size=16).hexdigest()
