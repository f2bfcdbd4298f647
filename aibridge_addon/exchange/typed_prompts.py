"""Decides if a typed prompt is new, or was recorded with an earlier request. Pure."""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import Interception, InterceptionEnded, Status
from aibridge_addon.providers.request_kind import Purpose

_MAX_DIGESTS = 10_000
"""Number of digests that are remembered."""


class NewPrompt(NamedTuple):
    """A typed prompt that no earlier request contained."""

    text: str
    digest: str | None
    """Identifies it in the store; None if retries are undetectable."""


class TypedPrompts:
    """Remembers which typed prompts were recorded.

    - If the client sends an id of the prompt, its text is recorded once for each id. The store
      enforces the same, so that this holds for other processes and after a restart.
    - In a session without such ids, the same text at the same position of the conversation is a
      retry until a request with it is completed, and after that only if the request says so.
    - Without a session, only a request that the client calls a retry is one: the same question may
      be asked again on purpose.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._not_completed: OrderedDict[str, str] = OrderedDict()
        """Digests by interception; a completed response makes them unknown again."""
        self.handlers: Handlers = {InterceptionEnded: self.on_ended}

    def new(
        self,
        interception: Interception,
        purpose: Purpose,
        *,
        position: str | None,
        is_retry: bool = False,
    ) -> NewPrompt | None:
        """Return the new prompt of a request; None if nothing new was typed.

        `is_retry` is True if the client states that the request is a retry, or continues a
        response: then a prompt that was recorded is not new.
        """
        if not purpose.typed:
            return None
        *earlier, last = purpose.typed
        if not (interception.prompt_id or interception.client_session_id):
            return self._new_without_session(
                interception, purpose, position or "", is_retry=is_retry
            )
        unseen = [text for text in earlier if not self._was_typed(interception, text)]
        digest = _digest_by_id(interception, last)
        by_position = _digest_by_position(interception, purpose, position)
        is_repeated = not _remember(self._seen, _digest("ever", by_position)) and is_retry
        if self._is_new(interception, digest or by_position) and not (by_position and is_repeated):
            unseen.append(last)
        for text in purpose.typed:
            _remember(self._seen, _digest_in_session(interception, text))
        return NewPrompt("\n".join(unseen), digest) if unseen else None

    def on_ended(self, fact: InterceptionEnded) -> None:
        """Forget the position of a completed prompt: the same text there is typed again."""
        digest = self._not_completed.pop(fact.interception.id, None)
        if digest and fact.status is Status.COMPLETED:
            self._seen.pop(digest, None)

    def _is_new(self, interception: Interception, digest: str | None) -> bool:
        if digest is None:
            return True
        if not interception.prompt_id:
            _remember(self._not_completed, interception.id, digest)
        return _remember(self._seen, digest)

    def _new_without_session(
        self, interception: Interception, purpose: Purpose, position: str, *, is_retry: bool
    ) -> NewPrompt | None:
        owner = (interception.initiator_id, interception.user_agent, interception.provider_name)
        is_new = _remember(self._seen, _digest(*owner, "none", position, *purpose.typed))
        if is_retry and not is_new:
            return None
        return NewPrompt("\n".join(purpose.typed), None)

    def _was_typed(self, interception: Interception, text: str) -> bool:
        """Return True if a message before the last was typed earlier in this session."""
        return (
            bool(interception.client_session_id)
            and _digest_in_session(interception, text) in self._seen
        )


def _remember(known: OrderedDict[str, str], key: str, value: str = "") -> bool:
    """Set a value, as the newest of a bounded number; return True if the key is new."""
    is_new = key not in known
    known[key] = value
    known.move_to_end(key)
    if len(known) > _MAX_DIGESTS:
        known.popitem(last=False)
    return is_new


def _digest_by_id(interception: Interception, text: str) -> str | None:
    if not interception.prompt_id:
        return None
    return _digest(
        interception.initiator_id, interception.client, "prompt", interception.prompt_id, text
    )


def _digest_by_position(
    interception: Interception, purpose: Purpose, position: str | None
) -> str | None:
    if position is None:  # only the provider knows the position
        return None
    owner = (
        interception.initiator_id,
        interception.client,
        "session",
        interception.client_session_id,
    )
    return _digest(*owner, position, *purpose.typed)


def _digest_in_session(interception: Interception, text: str) -> str:
    return _digest(
        interception.initiator_id, interception.client, "said", interception.client_session_id, text
    )


def _digest(*parts: str | None) -> str:
    named = "\0".join(f"{len(part)}:{part}" if part is not None else "-" for part in parts)
    return hashlib.blake2b(named.encode("utf-8", "replace"), digest_size=16).hexdigest()
