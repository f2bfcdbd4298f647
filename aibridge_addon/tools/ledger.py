"""The transcript ledger: what was hidden from a client, to be put back when it comes again.

Entries are known by the key of a run (`apis.turns.run_key`) within a scope, which is one actor with
one credential at one API of one provider instance: nobody's turns can come into another's
conversation, and none into a request of another format.
The newest are in memory; all are in the store, so that a restart or another process can serve them.
So are the keys of the newest answers that hid nothing, which are most: a conversation comes again
with all of them, and the store is asked about none twice.
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
"""From a scope and keys to the contents that the store has."""


class Ledger:
    """Remembers restorations."""

    def __init__(self, *, remember: Remember, find: Find) -> None:
        self._remember = remember
        self._find = find
        self._recent = _Newest[Restoration](MAX_IN_MEMORY)
        self._nothing_hidden = _Newest[None](MAX_NOTHING_HIDDEN)

    def add(self, scope: str, key: str, restoration: Restoration) -> None:
        """Remember what stood in place of a run."""
        self._nothing_hidden.pop((scope, key), None)
        self._recent.keep((scope, key), restoration)
        content = encode(
            {"sequence": list(restoration.sequence), "results": list(restoration.results)}
        )
        self._remember(HiddenTurns(scope=scope, key=key, content=content, created_at=now()))

    def add_nothing(self, scope: str, key: str) -> None:
        """Remember that nothing stood in place of a run, unless something did."""
        if (scope, key) not in self._recent:
            self._nothing_hidden.keep((scope, key), None)

    async def find(self, scope: str, keys: Collection[str]) -> dict[str, Restoration]:
        """Return what is known of some runs. Never raises: what cannot be found is not there."""
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
                    self._recent.keep((scope, key), found[key])
                else:
                    self.add_nothing(scope, key)
        except Exception:  # the edge: a store of any kind
            logger.exception("aibridge: hidden turns cannot be looked up")
        return found


class _Newest[V](OrderedDict[tuple[str, str], V]):
    """The newest values, by scope and key."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def keep(self, name: tuple[str, str], value: V) -> None:
        """Add a value as the newest."""
        self[name] = value
        self.move_to_end(name)
        if len(self) > self._limit:
            self.popitem(last=False)


def _restoration(content: Any) -> Restoration:
    return Restoration(sequence=tuple(content["sequence"]), results=tuple(content["results"]))


def scope_of(actor: str, provider: str, api: str, credential_fingerprint: str) -> str:
    """Return the scope of an actor's conversations; a digest, from which nothing can be read."""
    parts = (actor, provider, api, credential_fingerprint)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode("utf-8", "replace")).digest())
    return digest.hexdigest()
