"""Remembers which conversations left their first key, and the keys of stored responses. Pure."""

from collections import OrderedDict
from dataclasses import dataclass

SECONDS = 300.0
"""Lifetime of a provider's prompt cache, which each request prolongs."""
LONG_SECONDS = 3600.0
"""The same if a request asks for the longer lifetime."""
_MOST = 20_000


@dataclass(slots=True)
class _Binding:
    env: str
    until: float
    seconds: float


class Bindings:
    """Keys of conversations that failed over, until they have been idle."""

    def __init__(self) -> None:
        self._bindings: OrderedDict[str, _Binding] = OrderedDict()

    def find(self, affinity: str, now: float) -> str | None:
        """Return the key of a conversation that is not idle, and prolong its time."""
        binding = self._bindings.get(affinity)
        if binding is None:
            return None
        if now >= binding.until:
            del self._bindings[affinity]
            return None
        binding.until = now + binding.seconds
        self._bindings.move_to_end(affinity)
        return binding.env

    def bind(self, affinity: str, env: str, seconds: float, now: float) -> None:
        """Keep a conversation at a key."""
        self._bindings[affinity] = _Binding(env, now + seconds, seconds)
        self._bindings.move_to_end(affinity)
        if len(self._bindings) > _MOST:
            self._bindings.popitem(last=False)

    def release(self, affinity: str) -> None:
        """Forget the key of a conversation, so that hashing chooses again."""
        self._bindings.pop(affinity, None)


class ResponseKeys:
    """Keys of the newest responses, by their ids: later requests continue them."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()

    def note(self, response_id: str, env: str) -> None:
        """Remember the key of a response."""
        self._keys[response_id] = env
        if len(self._keys) > _MOST:
            self._keys.popitem(last=False)

    def find(self, response_id: str | None) -> str | None:
        """Return the key of a response, if it is known."""
        return self._keys.get(response_id or "")
