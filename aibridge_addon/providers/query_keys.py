"""Keys in the query of a request: `?key=…` of Google's APIs, and pre-signed URLs. Pure.

Paths are given with their queries. Parameters that are not touched keep their bytes.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus

from aibridge_addon.providers.secret_names import is_secret_header

KEY_PARAMETERS = frozenset(
    {
        *("key", "access_token", "api_key", "api-key", "apikey", "subscription-key"),
        *("$key", "$access_token"),  # as Google spells parameters of all its APIs
    }
)
"""Parameters for a client's own key, in lower case."""

SECRET_PARAMETERS = KEY_PARAMETERS | {
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
    "sig",  # shared access signatures of Azure
    "code",  # of OAuth, and of functions of Azure
    "policy",  # signed cookies and URLs of CloudFront
    "upload_id",  # resumable uploads of Google
}
"""Parameters whose values only the provider may see, in lower case, beside those that are named
like a secret header."""

_PARAMETER = re.compile(r"(?<=[?&#;])([^=?&#;/\s]++)=([^&#;\s<>\"',]++)")
_USER = re.compile(r"(?<=://)[^/?#@\s]++(?=@)")

type Replace = Callable[[str, str], str]
"""Returns the value that replaces the value of a secret parameter, both as they are written."""


def keys_in(path: str) -> list[str]:
    """Return the client's own keys in a query, decoded."""
    return [unquote_plus(value) for name, value in _parameters(path) if name in KEY_PARAMETERS]


def without_keys(path: str, *, of: str | None = None) -> str:
    """Return a path without the client's own keys, or without the keys that contain a text."""
    bare, mark, query = path.partition("?")
    kept = [
        piece
        for piece in query.split("&")
        if (parameter := _parameter(piece))[0] not in KEY_PARAMETERS
        or (of is not None and of not in unquote_plus(parameter[1]))
    ]
    return bare + mark + "&".join(kept) if kept or not mark else bare


def with_secrets(path: str, replace: Replace) -> str:
    """Return a path with the values of its secret parameters replaced."""
    bare, mark, query = path.partition("?")
    if not query:
        return path
    return bare + mark + "&".join(_replaced(piece, replace) for piece in query.split("&"))


def in_urls(text: str, mask: Callable[[str], str]) -> str:
    """Mask the secret parameters, fragments and logins of the URLs in a text."""

    def masked(match: re.Match[str]) -> str:
        name, value = match.groups()
        return f"{name}={mask(value)}" if _is_secret(unquote_plus(name).lower()) else match[0]

    return _USER.sub(lambda match: mask(match[0]), _PARAMETER.sub(masked, text))


def _is_secret(name: str) -> bool:
    return name in SECRET_PARAMETERS or is_secret_header(name.encode("utf-8", "replace"))


def _replaced(piece: str, replace: Replace) -> str:
    name, value = _parameter(piece)
    if not value or not _is_secret(name):
        return piece
    return piece[: len(piece) - len(value)] + replace(name, value)


def _parameters(path: str) -> Iterator[tuple[str, str]]:
    query = path.partition("?")[2]
    return map(_parameter, query.split("&") if query else ())


def _parameter(piece: str) -> tuple[str, str]:
    """Return the name of a parameter, decoded and in lower case, and its value as written."""
    name, _, value = piece.partition("=")
    return unquote_plus(name).lower(), value
