"""One-time links that sign in the operator of this machine.

A link carries a time and a nonce, signed with a secret that only this user can read. Any process of
the user can make a link; the page accepts each once, and none made before the page started.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

VALID_SECONDS = 12 * 3600
SECRET_BYTES = 32


def make_key(secret: bytes, at: float | None = None) -> str:
    """Return the key of a new link."""
    text = f"{int(time.time() if at is None else at)}.{secrets.token_urlsafe(12)}"
    return f"{text}.{_signature(secret, text)}"


class Links:
    """Accepts the keys of links, each once."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self._started = int(clock())
        self._used: set[str] = set()
        """Keys with a valid signature only, so that strangers cannot fill it."""

    def redeem(self, key: str) -> bool:
        """Return True if a key is valid; it is not valid again."""
        text, _, signature = key.rpartition(".")
        if not hmac.compare_digest(signature.encode(), _signature(self._secret, text).encode()):
            return False
        made = int(text.partition(".")[0])
        now = self._clock()
        if key in self._used or not max(self._started, now - VALID_SECONDS) <= made <= now + 60:
            return False
        self._used.add(key)
        return True


def _signature(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
