"""Rate limits by credential, as their headers were seen last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aibridge_addon.rate_limits import Limit, Seen, read_limits
from aibridge_addon.report.rows import RateLimitRow

type _Key = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialLimits:
    """The limits of one credential at one provider instance."""

    provider: str
    kind: str | None
    hint: str | None
    actors: tuple[str, ...]
    """Actors who used it; masked keys of two actors can look the same, so each has its own."""
    headers: Seen
    limits: tuple[Limit, ...]
    """Windows first."""

    @property
    def seen_at(self) -> datetime:
        """The time of the newest header."""
        return max(seen_at for _, seen_at in self.headers.values())

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object; what is unknown is null."""
        return {
            "provider": self.provider,
            "credential_kind": self.kind,
            "credential_hint": self.hint,
            "actors": list(self.actors),
            "seen_at": self.seen_at.isoformat(),
            "limits": [_limit_as_json(limit) for limit in self.limits],
            "headers": {
                name: {"value": value, "seen_at": seen_at.isoformat()}
                for name, (value, seen_at) in self.headers.items()
            },
        }


def limits_by_credential(rows: Iterable[RateLimitRow]) -> list[CredentialLimits]:
    """Return the limits of each credential, the newest first.

    A central key is the same for all actors; other keys are kept apart by actor.
    """
    groups: dict[_Key, list[RateLimitRow]] = {}
    for row in rows:
        actor = None if row.credential_kind == "centralized" else row.actor
        key = (row.provider, row.credential_kind, row.credential_hint, actor)
        groups.setdefault(key, []).append(row)
    found = [_credential(group) for group in groups.values()]
    return sorted(found, key=lambda credential: credential.seen_at, reverse=True)


def _credential(rows: list[RateLimitRow]) -> CredentialLimits:
    headers = {
        row.header: (row.value, datetime.fromisoformat(row.seen_at))
        for row in sorted(rows, key=lambda row: row.seen_at)
    }
    ordered: Mapping[str, tuple[str, datetime]] = dict(sorted(headers.items()))
    return CredentialLimits(
        provider=rows[0].provider,
        kind=rows[0].credential_kind,
        hint=rows[0].credential_hint,
        actors=tuple(sorted({row.actor for row in rows})),
        headers=ordered,
        limits=tuple(read_limits(ordered)),
    )


def _limit_as_json(limit: Limit) -> dict[str, Any]:
    return {
        "name": limit.name,
        "is_window": limit.is_window,
        "used": limit.used,
        "limit": limit.limit,
        "remaining": limit.remaining,
        "status": limit.status,
        "resets_at": limit.resets_at.isoformat() if limit.resets_at else None,
        "seen_at": limit.seen_at.isoformat(),
    }


def span(time: timedelta) -> str:
    """Return a duration in its two largest units: `3d04h`, `2h05m`, `12m`, `30s`."""
    seconds = max(0, int(time.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m" if minutes else f"{seconds}s"
