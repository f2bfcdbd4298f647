"""Access tokens as last read from their source; the event loop never waits for the store.

A revoked access token stays valid for at most `FRESH_SECONDS`. Tokens that were read once stay
known while the store is unavailable.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from aibridge_addon.access.tokens import AccessToken, TokenError, TokenSource, authenticate

logger = logging.getLogger(__name__)

FRESH_SECONDS = 0.5
"""Age up to which the tokens are used without another reading."""
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
        """Read the tokens again, unless a reading started within the last `seconds`."""
        not_before = time.monotonic() - seconds
        while self._read_at <= not_before:
            if self._reading is None or self._reading.done():
                work = asyncio.to_thread(self._read)
                self._reading = asyncio.create_task(work, name="aibridge tokens")
            await asyncio.shield(self._reading)

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
            if not self._failed:  # no error at the start, since mitmproxy ends itself over one
                level = logging.ERROR if self._has_read else logging.WARNING
                message = "aibridge: access tokens cannot be read, known ones stay valid: %s"
                logger.log(level, message, error)
            self._failed = True
        self._read_at = started
