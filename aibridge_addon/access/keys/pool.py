"""Pool of the central keys of one provider instance. Pure, with the time given by a clock.

A conversation stays at its key, so that the provider's prompt cache survives; a key that is limited
or refused is left out until it recovers by itself.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from aibridge_addon.access.keys import bindings
from aibridge_addon.access.keys.affinity import Affinity
from aibridge_addon.access.keys.failures import Failure
from aibridge_addon.access.keys.key_state import KeyState
from aibridge_addon.access.keys.rendezvous import ranked
from aibridge_addon.providers.central_keys import CentralKey

type Change = Literal["set_aside", "back"]
type OnChange = Callable[[CentralKey, Change, str], None]
"""Receives a key that can no longer be used, or can be again, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """State of a key at a moment, for people."""

    key: CentralKey
    state: Literal["ok", "cooling", "set aside"]
    reason: str = ""
    since_seconds: float | None = None
    """Seconds since it was set aside."""
    next_seconds: float | None = None
    """Seconds until the next check, or until it may be used again."""
    is_checked: bool = False
    """True if a check lets it be used again, False if time does."""


class KeyPool:
    """Chooses keys, and learns from the responses; lives as long as the proxy."""

    def __init__(
        self,
        keys: Iterable[CentralKey],
        *,
        clock: Callable[[], float],
        on_change: OnChange = lambda key, change, reason: None,
    ) -> None:
        self.keys = tuple(keys)
        self.responses = bindings.ResponseKeys()
        self._clock = clock
        self._on_change = on_change
        self._bindings = bindings.Bindings()
        self._states: dict[str, KeyState] = {}

    def use(self, keys: Iterable[CentralKey]) -> None:
        """Use other keys; those that stay keep their state."""
        self.keys = tuple(keys)

    def choose(self, affinity: Affinity, model: str) -> CentralKey | None:
        """Return the key for a request, and keep its conversation there; None: as `find`."""
        if key := self.find(affinity, model):
            self.settle(affinity, key)
        return key

    def find(
        self, affinity: Affinity, model: str, tried: Collection[CentralKey] = ()
    ) -> CentralKey | None:
        """Return the key for a request; None if all keys that it may use are out.

        Args:
            affinity: of the request.
            model: its model class.
            tried: keys that this request has been sent with.
        """
        home = self.home(affinity)
        if home is None:
            return None
        now = self._clock()
        for key in (home, *ranked(affinity.id, self.keys)):
            may_use = not affinity.is_bound or key.shares_organization(home)
            if may_use and key not in tried and self._state(key).is_usable(model, now):
                return key
        return None

    def settle(self, affinity: Affinity, key: CentralKey) -> None:
        """Keep a conversation at a key that hashing would not choose, until it is idle."""
        if key == ranked(affinity.id, self.keys)[0]:
            self._bindings.release(affinity.id)
        else:
            self._bindings.bind(affinity.id, key.env, affinity.idle_seconds, self._clock())

    def home(self, affinity: Affinity) -> CentralKey | None:
        """Return the key that has the state and the cache of a conversation."""
        env = self.responses.find(affinity.previous_response_id)
        env = env or self._bindings.find(affinity.id, self._clock())
        bound = next((key for key in self.keys if key.env == env), None)
        return bound or next(iter(ranked(affinity.id, self.keys)), None)

    def wait_for(self, model: str) -> float | None:
        """Return the seconds until the first cool-down ends; None if all keys are set aside."""
        now = self._clock()
        states = map(self._state, self.keys)
        waits = [state.cools_for(model, now) for state in states if not state.is_aside(now)]
        return min(waits, default=None)

    def report(self, key: CentralKey, failure: Failure | None, model: str) -> None:
        """Learn from a response; None: a success."""
        now, state = self._clock(), self._state(key)
        match failure:
            case None:
                if state.note_success(now):
                    self._on_change(key, "back", "")
            case Failure(kind="rate"):
                for other in self.keys:
                    if key == other or (failure.of_organization and key.shares_organization(other)):
                        self._state(other).cool(model, failure.seconds or 1.0, now)
            case Failure(kind="quota" | "credential" as kind):
                if state.set_aside(kind, failure, now):
                    self._on_change(key, "set_aside", failure.reason)

    def due_checks(self) -> list[CentralKey]:
        """Return the keys whose check begins now."""
        now = self._clock()
        return [key for key in self.keys if self._state(key).begin_check(now)]

    def checked(self, key: CentralKey, *, is_valid: bool | None) -> None:
        """Note the result of a check; None: the provider was not reached."""
        if self._state(key).note_check(is_valid=is_valid, now=self._clock()):
            self._on_change(key, "back", "")

    def rows(self) -> list[KeyRow]:
        """Return the state of each key."""
        return [self._row(key, self._clock()) for key in self.keys]

    def _row(self, key: CentralKey, now: float) -> KeyRow:
        state = self._state(key)
        if state.aside and state.is_aside(now):
            return KeyRow(
                key=key,
                state="set aside",
                reason=state.aside.reason,
                since_seconds=now - state.aside.since,
                next_seconds=max(0.0, state.aside.until - now),
                is_checked=state.aside.kind == "credential",
            )
        cooling = {name: end - now for name, end in state.cooling.items() if end > now}
        if not cooling:
            return KeyRow(key=key, state="ok")
        names = ", ".join(name or "all models" for name in sorted(cooling))
        return KeyRow(
            key=key, state="cooling", reason=f"rate for {names}", next_seconds=max(cooling.values())
        )

    def _state(self, key: CentralKey) -> KeyState:
        return self._states.setdefault(key.env, KeyState())
