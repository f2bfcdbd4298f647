"""Recognises headers and paths with secrets by the words in their names. Pure.

Names of providers change; words such as `token` and `key` in them do not.
"""

import re
from functools import lru_cache

_SECRET_WORDS = frozenset(
    {
        *("authorization", "cookie", "cookie2", "credential", "credentials", "ephemeral"),
        *("apikey", "jwt", "passwd", "password", "secret"),
    }
)
"""Words of a name that make it secret wherever they stand."""
_SECRET_ENDS = frozenset({"auth", "key", "sig", "signature", "token"})
"""Words that make a name secret at its end: `x-output-token-count` counts tokens."""
_OPEN = frozenset(
    {
        *("idempotency-key", "x-idempotency-key", "surrogate-key", "x-cache-key"),
        "sec-websocket-key",
    }
)
"""Names of that kind that hold no secret."""
_OF_KEYS = frozenset(
    {
        *("key", "keys", "token", "tokens", "secret", "secrets", "credential", "credentials"),
        *("auth", "oauth", "realtimeapi"),
    }
)
_WORD = re.compile(r"[A-Z]?[a-z]+")


@lru_cache(maxsize=1024)
def is_secret_header(name: bytes) -> bool:
    """Return True if a header, named in lower case, holds a secret by its name."""
    text = name.decode("latin-1")
    words = text.replace("_", "-").split("-")
    return text not in _OPEN and (words[-1] in _SECRET_ENDS or not _SECRET_WORDS.isdisjoint(words))


def may_create_keys(path: str) -> bool:
    """Return True if a response to a path may hold a new key, by the words of the path."""
    bare = path.partition("?")[0]
    words = {word.lower() for word in _WORD.findall(bare)}
    return not _OF_KEYS.isdisjoint(words) or "service_accounts" in bare
