"""State of one central key: usable, cooling down for some models, or set aside. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from aibridge_addon.access.keys.failures import Failure

type SetAsideKind = Literal["credential", "quota"]

FIRST_SECONDS: dict[SetAsideKind, float] = {"credential": 60.0, "quota": 900.0}
_LONGEST_SECONDS: dict[SetAsideKind, float] = {"credential": 900.0, "quota": 6 * 3600.0}
_CHECK_SECONDS = 60.0
"""Time after which a check that has no result is repeated."""
_MOST_MODELS = 200
"""Model classes that cool down; names come from clients."""


@dataclass(slots=True)
class SetAside:
    """A key that no request may use."""

    kind: SetAsideKind
    reason: str
    since: float
    until: float
    """Time of the next check, or from which it may be used again."""
    seconds: float
    """Duration, from which the next one is doubled."""


@dataclass(slots=True)
class KeyState:
    """Cool-downs and set-aside of one key; times are monotonic."""

    aside: SetAside | None = None
    cooling: dict[str, float] = field(default_factory=dict)
    """Ends of the cool-downs by model class."""
    _last_seconds: dict[SetAsideKind, float] = field(default_factory=dict)
    """Durations since the last success."""

    def is_usable(self, model: str, now: float) -> bool:
        """Return whether a request for a model class may use the key."""
        return not self.is_aside(now) and self.cools_for(model, now) == 0

    def is_aside(self, now: float) -> bool:
        """Return whether it is set aside: a refused key until a check, a spent one for a time."""
        aside = self.aside
        return aside is not None and (aside.kind == "credential" or now < aside.until)

    def cools_for(self, model: str, now: float) -> float:
        """Return the seconds for which it cools down; 0: it does not."""
        return max(0.0, self.cooling.get(model, now) - now)

    def cool(self, model: str, seconds: float, now: float) -> None:
        """Cool down for a model class; a longer cool-down stays."""
        self.cooling = {name: end for name, end in self.cooling.items() if end > now}
        if model in self.cooling or len(self.cooling) < _MOST_MODELS:
            self.cooling[model] = max(self.cooling.get(model, now), now + seconds)

    def set_aside(self, kind: SetAsideKind, failure: Failure, now: float) -> bool:
        """Set the key aside; return True if it was usable before."""
        if self.is_aside(now):
            return False
        is_new = self._last_seconds.get(kind) is None
        seconds = self._next_seconds(kind)
        until = now + (seconds if failure.seconds is None else failure.seconds)
        self.aside = SetAside(kind, failure.reason, now, until, seconds)
        self._last_seconds[kind] = seconds
        return is_new

    def note_success(self, now: float) -> bool:
        """Note a response; return True if it ends a time aside."""
        was_aside = bool(self._last_seconds) and not self.is_aside(now)
        if was_aside:
            self.aside = None
            self._last_seconds.clear()
        return was_aside

    def begin_check(self, now: float) -> bool:
        """Return whether the key must be checked now; then no other check begins for a while."""
        aside = self.aside
        if aside is None or aside.kind != "credential" or now < aside.until:
            return False
        aside.until = now + _CHECK_SECONDS
        return True

    def note_check(self, *, is_valid: bool | None, now: float) -> bool:
        """Note the result of a background check; None: the provider was not reached.

        Returns True if the key may be used again.
        """
        aside = self.aside
        if aside is None or aside.kind != "credential":
            return False
        if is_valid:
            self.aside = None
            return True
        if is_valid is False:
            aside.seconds = self._last_seconds["credential"] = self._next_seconds("credential")
        aside.until = now + aside.seconds
        return False

    def _next_seconds(self, kind: SetAsideKind) -> float:
        last = self._last_seconds.get(kind)
        return FIRST_SECONDS[kind] if last is None else min(last * 2, _LONGEST_SECONDS[kind])
