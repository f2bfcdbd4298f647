"""Caches the public keys of an issuer.

Keys are used for 5 to 15 minutes, as the issuer says, and fetched again before that; while the
issuer is unavailable, for a day. An unknown key id starts a fetch, but a flood of them only one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aibridge_addon.access.jwt.keys import PublicKey, find_key

logger = logging.getLogger(__name__)

SHORTEST_SECONDS, LONGEST_SECONDS = 300.0, 900.0
STALE_SECONDS = 86_400.0
BETWEEN_SECONDS = 30.0
"""Time between two fetches."""
_EARLY = 0.8
"""Part of the lifetime after which the keys are fetched in the background."""


class PublishedKeys(NamedTuple):
    """Keys as an issuer publishes them."""

    keys: tuple[PublicKey, ...]
    max_age: float | None
    """Seconds for which they may be used; None: not stated."""


class JWKSError(Exception):
    """The keys of an issuer could not be read; the message says why."""


type Fetch = Callable[[str], Awaitable[PublishedKeys]]
"""Fetches the keys at an address; raises `JWKSError`."""
type OnFetch = Callable[[str, str], None]
"""Counts a fetch by its address and outcome."""


class KeySet:
    """The keys at one address."""

    def __init__(
        self, url: str, fetch: Fetch, clock: Callable[[], float], on_fetch: OnFetch
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._on_fetch = on_fetch
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched_at = self._attempted_at = float("-inf")
        self._lifetime = SHORTEST_SECONDS
        self._fetching: asyncio.Task[None] | None = None

    @property
    def has_keys(self) -> bool:
        """True if there are keys that may still be used."""
        return self._age < STALE_SECONDS

    @property
    def next_fetch_seconds(self) -> float:
        """Time until keys may be fetched again."""
        return max(0.0, self._attempted_at + BETWEEN_SECONDS - self._clock())

    async def find(self, kid: str | None) -> PublicKey | None:
        """Return the key with an id; fetch the keys if it is not known, or they are too old."""
        if self._age >= self._lifetime:
            await self._refresh()
        elif self._age >= self._lifetime * _EARLY:
            self.refresh_soon()
        if (key := self._known(kid)) is None:
            await self._refresh()
            key = self._known(kid)
        return key

    def refresh_soon(self) -> asyncio.Task[None] | None:
        """Start to fetch the keys, unless that was tried a moment ago."""
        if self._fetching and not self._fetching.done():
            return self._fetching
        if self.next_fetch_seconds > 0:
            return None
        self._attempted_at = self._clock()
        self._fetching = asyncio.create_task(self._fetch_keys(), name="aibridge JWKS")
        return self._fetching

    def close(self) -> None:
        """Stop fetching."""
        if self._fetching:
            self._fetching.cancel()

    @property
    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _known(self, kid: str | None) -> PublicKey | None:
        return find_key(self._keys, kid) if self.has_keys else None

    async def _refresh(self) -> None:
        if fetching := self.refresh_soon():
            await asyncio.shield(fetching)

    async def _fetch_keys(self) -> None:
        try:
            found = await self._fetch(self._url)
        except JWKSError as error:
            logger.warning("aibridge: the keys at %s cannot be read: %s", self._url, error)
            self._on_fetch(self._url, "failed")
            return
        except Exception:  # the edge: requests with keys that are known must not fail with it
            logger.exception("aibridge: internal error: no keys from %s", self._url)
            self._on_fetch(self._url, "failed")
            return
        self._keys, self._fetched_at = found.keys, self._clock()
        stated = SHORTEST_SECONDS if found.max_age is None else found.max_age
        self._lifetime = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, stated))
        self._on_fetch(self._url, "ok")
