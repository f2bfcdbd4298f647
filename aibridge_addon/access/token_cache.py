"""Access tokens as last read from their source; the event loop never waits for the store.

A revoked access token stays valid for at most `FRESH_SECONDS`. Tokens that were read once stay
known while the store is unavailable, or does not answer: requests wait for it only briefly.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from aibridge_addon.access.tokens import AccessToken, TokenError, TokenSource, authenticate

logger = logging.getLogger(__name__)

FRESH_SECONDS = 0.5
"""Age up to which the tokens are used without another reading."""
_WAIT_SECONDS = (2.0, 0.2)
"""Longest time that a request waits for a reading, and once readings fail or take longer."""
_BETWEEN_READINGS_SECONDS = 0.01
"""Interval of readings for unknown tokens, so that a flood of them costs little."""


class TokenCache:
    """Reads the access tokens when they are needed; concurrent requests share a reading."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._tokens: Mapping[str, AccessToken] = {}
        self._read_at = 0.0
        """Start of the last reading, on the monotonic clock."""
        self._reading: asyncio.Task[None] | None = None
        self._failed = False
        self._has_read = False
        self._read()

    @property
    def may_have_tokens(self) -> bool:
        """True if there are access tokens, or if the tokens could not be read yet."""
        return bool(self._tokens) or not self._has_read

    def current(self, token: AccessToken) -> AccessToken:
        """Return the latest known version of a token, which may have been revoked."""
        return self._tokens.get(token.id, token)

    def by_id(self, token_id: str) -> AccessToken:
        """Return the latest known version of a token that was accepted before."""
        return self._tokens[token_id]

    def all(self) -> tuple[AccessToken, ...]:
        """Return the latest known version of all tokens, also of revoked and expired ones."""
        return tuple(self._tokens.values())

    async def refresh(self, seconds: float = FRESH_SECONDS) -> None:
        """Read the tokens again, unless a reading started within the last `seconds`.

        If the store does not answer in time, the reading goes on, and known tokens stay valid.
        """
        not_before = time.monotonic() - seconds
        while self._read_at <= not_before:
            if self._reading is None or self._reading.done():
                work = asyncio.to_thread(self._read)
                self._reading = asyncio.create_task(work, name="aibridge tokens")
            longest = _WAIT_SECONDS[self._failed]
            _, late = await asyncio.wait([self._reading], timeout=longest)
            if late:
                self._note_failure(f"the store does not answer within {longest:g} s")
                return

    async def authenticate(self, text: str) -> AccessToken:
        """Return the valid token of a text; read the tokens again if it is not known.

        Raises:
            TokenError: the token is unknown, revoked or expired.
        """
        try:
            return authenticate(text, self._tokens)
        except TokenError:
            await asyncio.sleep(self._read_at + _BETWEEN_READINGS_SECONDS - time.monotonic())
            await self.refresh(0)
            return authenticate(text, self._tokens)

    def _read(self) -> None:
        started = time.monotonic()
        try:
            # Tokens are never deleted: if all have disappeared, the database is unavailable.
            self._tokens = self._source.access_tokens() or self._tokens
            self._failed, self._has_read = False, True
        except Exception as error:  # noqa: BLE001 the edge: a bug of ours must not admit anybody
            self._note_failure(error)
        self._read_at = started

    def _note_failure(self, reason: object) -> None:
        if not self._failed:  # no error at the start, since mitmproxy ends itself over one
            level = logging.ERROR if self._has_read else logging.WARNING
            message = "aibridge: access tokens cannot be read, known ones stay valid: %s"
            logger.log(level, message, reason)
        self._failed = True
