"""Sessions of the web page, in memory: they end with the process."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SESSION_SECONDS = 7 * 24 * 3600
MOST_SESSIONS = 10_000
"""Number at which the oldest session ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that is signed in."""

    token_id: str | None
    """The access token that signed it in; None: a one-time link of the operator."""
    expires: float


class Sessions:
    """Sessions by the secret id in the browser's cookie."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def start(self, token_id: str | None) -> str:
        """Start a session; return its id."""
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.popitem(last=False)
        session_id = secrets.token_urlsafe(32)
        expires = self._clock() + SESSION_SECONDS
        self._sessions[session_id] = Session(token_id=token_id, expires=expires)
        return session_id

    def find(self, session_id: str) -> Session | None:
        """Return a session that has not expired."""
        session = self._sessions.get(session_id)
        if session and session.expires <= self._clock():
            self.end(session_id)
            return None
        return session

    def end(self, session_id: str) -> None:
        """End a session, if it exists."""
        self._sessions.pop(session_id, None)
