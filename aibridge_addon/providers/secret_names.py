"""Recognises headers whose values are secrets by their names, in requests and responses. Pure.

Names of providers change; words such as `token` and `key` in them do not.
"""

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


@lru_cache(maxsize=1024)
def is_secret_header(name: bytes) -> bool:
    """Return True if a header, named in lower case, holds a secret by its name."""
    text = name.decode("latin-1")
    words = text.replace("_", "-").split("-")
    return text not in _OPEN and (words[-1] in _SECRET_ENDS or not _SECRET_WORDS.isdisjoint(words))
