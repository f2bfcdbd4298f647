"""The ledger: stores turns that were hidden from a client, to restore them in later requests.

An entry has the key of a run (`formats.tool_protocol.run_key`) and a scope: one actor, credential,
provider instance and wire format, so that turns never enter another conversation. The store has all
entries; the newest are also in memory, with the keys of responses that hid nothing.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aibridge_addon.facts import HiddenTurns, now
from aibridge_addon.formats.tool_protocol import Restoration
from aibridge_addon.raw_json import decode, encode

logger = logging.getLogger(__name__)

MAX_IN_MEMORY = 1_000
MAX_NOTHING_HIDDEN = 10_000

type Remember = Callable[[HiddenTurns], None]
type Find = Callable[[str, Collection[str]], Awaitable[Mapping[str, str]]]
"""Returns the stored contents by key, given a scope and keys."""


class Ledger:
    """Stores and finds restorations."""

    def __init__(self, *, remember: Remember, find: Find) -> None:
        self._remember = remember
        self._find = find
        self._recent = _Newest[Restoration](MAX_IN_MEMORY)
        self._nothing_hidden = _Newest[None](MAX_NOTHING_HIDDEN)

    def add(self, scope: str, key: str, restoration: Restoration) -> None:
        """Store the hidden turns of a run."""
        self._nothing_hidden.pop((scope, key), None)
        self._recent.put((scope, key), restoration)
        content = encode(
            {"sequence": list(restoration.sequence), "results": list(restoration.results)}
        )
        self._remember(HiddenTurns(scope=scope, key=key, content=content, created_at=now()))

    def add_nothing(self, scope: str, key: str) -> None:
        """Remember that a run hid nothing, so that the store is not searched for it."""
        if (scope, key) not in self._recent:
            self._nothing_hidden.put((scope, key), None)

    async def find(self, scope: str, keys: Collection[str]) -> dict[str, Restoration]:
        """Return restorations by key of run. Never raises: a failed lookup finds nothing."""
        found = {key: hit for key in keys if (hit := self._recent.get((scope, key)))}
        missing = [
            key
            for key in dict.fromkeys(keys)
            if key not in found and (scope, key) not in self._nothing_hidden
        ]
        if not missing:
            return found
        try:
            stored = await self._find(scope, missing)
            for key in missing:
                if key in stored:
                    found[key] = _restoration(decode(stored[key].encode()))
                    self._recent.put((scope, key), found[key])
                else:
                    self.add_nothing(scope, key)
        except Exception:  # the edge: a store of any kind
            logger.exception("aibridge: hidden turns cannot be read from the store")
        return found


class _Newest[V](OrderedDict[tuple[str, str], V]):
    """The most recent values, by scope and key."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def put(self, name: tuple[str, str], value: V) -> None:
        """Add a value as the most recent."""
        self[name] = value
        self.move_to_end(name)
        if len(self) > self._limit:
            self.popitem(last=False)


def _restoration(content: Any) -> Restoration:
    return Restoration(sequence=tuple(content["sequence"]), results=tuple(content["results"]))


def scope_of(actor: str, provider: str, api: str, credential_fingerprint: str) -> str:
    """Return the scope of an actor's conversations: a digest that reveals none of its parts."""
    parts = (actor, provider, api, credential_fingerprint)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode("utf-8", "replace")).digest())
    return digest.hexdigest()
