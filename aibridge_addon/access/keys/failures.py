"""Classifies failed responses of providers: by status, headers and error body. Pure.

Texts of an error count only where a client cannot choose them: providers repeat parts of a request
in their messages, and no client may take a key out of use.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from aibridge_addon.access.asked import OWN_MESSAGE
from aibridge_addon.rate_limits import Limit, read_limits, read_retry_after
from aibridge_addon.raw_json import mapping, read, sequence, text
from aibridge_addon.reset_times import read_reset

type FailureKind = Literal[
    "caller", "rate", "request_rate", "quota", "credential", "overload", "error"
]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind.__value__)

LONGEST_STATED_SECONDS = 3600.0
"""A longer `retry-after` counts as this one."""
_LONGEST_RESET_SECONDS = 60.0
"""A bucket that refills continuously has room again before its stated reset."""
_SHORTEST_SECONDS = 1.0

_OVERLOADED = frozenset({502, 503, 504, 529})
_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "insufficient_user_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "enforced_spend_limit_reached",
    }
)
"""Codes by which OpenAI, Anthropic and compatible hosts say that the money is spent."""
_QUOTA_MESSAGES = ("your credit balance is too low", "you have reached your specified api usage")
"""Beginnings of Anthropic's messages; a message that repeats input begins with its path."""
_CALLER_CODES = frozenset(
    {
        "mismatched_organization",
        "mismatched_project",
        "invalid_organization",
        "invalid_project",
        "no_such_organization",
    }
)
"""Codes of a 401 about a header of the client, such as `OpenAI-Organization`."""
_UNTIL = re.compile(r"regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2}))? UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed send, by what it means for the request and for the key."""

    kind: FailureKind
    """`caller`: the request is at fault. `rate`: the key is limited. `request_rate`: a 429 without
    a hint. `quota`: the money is spent. `credential`: the key is refused. `overload`: the provider
    is out of order, or was not reached. `error`: any other 5xx."""
    http_status: int | None
    """None: there was no response."""
    seconds: float | None = None
    """Seconds until the provider accepts the next request, if it states them."""
    of_organization: bool = False
    """True if the limit is one of the key's organization."""
    is_unprocessed: bool = False
    """True if the provider says that it has not begun to process the request."""

    @property
    def reason(self) -> str:
        """The failure for people."""
        status = "no response" if self.http_status is None else f"HTTP {self.http_status}"
        return f"{self.kind.replace('_', ' ')} ({status})"


def classify(
    http_status: int | None, headers: Mapping[str, str], body: bytes, now: datetime
) -> Failure | None:
    """Return the failure that a response states; None if it is a success.

    Args:
        http_status: None if there was no response.
        headers: values by name in lower case.
        body: the decoded body; empty if it is unknown.
        now: when the response came.
    """
    if http_status is not None and http_status < 400:
        return None
    error = _ErrorBody(body)
    seconds = _stated_seconds(headers, error, now)
    match http_status:
        case 401 if not error.codes & _CALLER_CODES:
            return Failure(kind="credential", http_status=401)
        case 402:
            return _quota(402, error, now)
        case 400 | 429 if error.is_quota:
            return _quota(http_status, error, now)
        case 429:
            return _limited(headers, seconds, now)
        case None:
            return Failure(kind="overload", http_status=None)
        case _ if http_status in _OVERLOADED:
            return Failure(kind="overload", http_status=http_status, seconds=seconds)
        case _ if http_status >= 500:
            return Failure(kind="error", http_status=http_status, seconds=seconds)
    return Failure(kind="caller", http_status=http_status)


def _limited(headers: Mapping[str, str], seconds: float | None, now: datetime) -> Failure:
    exhausted, has_limits = _exhausted_until(headers, now)
    if seconds is None and exhausted is not None:
        seconds = min((exhausted - now).total_seconds(), _LONGEST_RESET_SECONDS)
    if seconds is None:
        return Failure(kind="request_rate", http_status=429)
    return Failure(
        kind="rate",
        http_status=429,
        seconds=max(_SHORTEST_SECONDS, seconds),
        of_organization=has_limits,
    )


def _quota(http_status: int, error: "_ErrorBody", now: datetime) -> Failure:
    until = error.quota_until(now)
    seconds = max(0.0, (until - now).total_seconds()) if until else None
    return Failure(kind="quota", http_status=http_status, seconds=seconds)


class _ErrorBody:
    """The error object of a body, in the shapes of all providers."""

    def __init__(self, body: bytes) -> None:
        document = read(body)
        if isinstance(document, list) and document:  # streamed JSON of Gemini
            document = document[0]
        self._error = mapping(mapping(document).get("error"))
        details = self._error.get("details")
        self._details = [mapping(details), *map(mapping, sequence(details))]
        found = [self._error.get("code"), self._error.get("type")]
        found += [detail.get("error_code") for detail in self._details]
        self.codes = {code for code in found if isinstance(code, str)}
        self._message = (text(self._error.get("message")) or "").strip().lower()

    @property
    def is_quota(self) -> bool:
        """True if the error says that the money of the key is spent."""
        if self._message.startswith(OWN_MESSAGE):
            return False
        return bool(self.codes & _QUOTA_CODES) or self._message.startswith(_QUOTA_MESSAGES)

    def quota_until(self, now: datetime) -> datetime | None:
        """Return when a spent quota opens again, if that is known."""
        if match := _UNTIL.search(text(self._error.get("message")) or ""):
            return datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}+00:00")
        if "enforced_spend_limit_reached" in self.codes:
            return _next_month(now)
        return None

    def seconds(self, now: datetime) -> float | None:
        """Return the seconds to wait that the body states, as ChatGPT's and Gemini's do."""
        stated = self._error.get("resets_in_seconds")
        if isinstance(stated, int | float) and stated >= 0:
            return float(stated)
        moments = [str(self._error.get("resets_at") or "")]
        moments += [text(detail.get("retryDelay")) or "" for detail in self._details]
        found = (moment for value in moments if (moment := read_reset(value, now)))
        return next((max(0.0, (moment - now).total_seconds()) for moment in found), None)


def _next_month(now: datetime) -> datetime:
    year, month = divmod(now.astimezone(UTC).month, 12)
    return datetime(now.astimezone(UTC).year + year, month + 1, 1, tzinfo=UTC)


def _stated_seconds(headers: Mapping[str, str], error: _ErrorBody, now: datetime) -> float | None:
    stated = read_retry_after(headers, now.isoformat())
    if stated is None:
        stated = error.seconds(now)
    return None if stated is None else min(stated, LONGEST_STATED_SECONDS)


def _exhausted_until(headers: Mapping[str, str], now: datetime) -> tuple[datetime | None, bool]:
    """Return the latest reset of the limits that are used up, and True if any limit is stated."""
    limits = [
        limit
        for limit in read_limits({name: (value, now) for name, value in headers.items()})
        if limit.name != "retry-after"
    ]
    resets = [limit.resets_at or now for limit in limits if _is_exhausted(limit)]
    return max(resets, default=None), bool(limits)


def _is_exhausted(limit: Limit) -> bool:
    return limit.remaining == 0 or limit.status == "rejected" or (limit.used or 0.0) >= 1.0
