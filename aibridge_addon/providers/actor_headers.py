"""Headers that name the actor to a provider or gateway upstream (`send_actor = true`). Pure.

The names are reserved: where they are sent, values of clients are removed.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

from aibridge_addon.headers import Fields
from aibridge_addon.providers.identity import Actor

_ID = b"X-AI-Bridge-Actor-ID"
_METADATA = "X-AI-Bridge-Actor-Metadata-"
_RESERVED = b"x-ai-bridge-actor-"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_BYTES = 1024
_SAFE = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"
"""Characters that stay as they are; `%` and all outside of ASCII are percent-encoded."""


def with_actor(fields: Fields, actor: Actor) -> Fields:
    """Return header fields with the actor's id and metadata, and without values of the client."""
    kept = (field for field in fields if not _is_reserved(field[0]))
    return (*kept, *_fields(actor))


def _is_reserved(name: bytes) -> bool:
    """Return True for a reserved name; many servers read `_` in a name as `-`."""
    return name.lower().replace(b"_", b"-").startswith(_RESERVED)


def _fields(actor: Actor) -> Iterator[tuple[bytes, bytes]]:
    yield _ID, _value(actor.id)
    for name, value in actor.metadata.items():
        if _NAME.fullmatch(name) and isinstance(value, str | int | float | bool):
            yield f"{_METADATA}{name}".encode(), _value(str(value))


def _value(text: str) -> bytes:
    return quote(text, safe=_SAFE).encode()[:_MOST_BYTES].strip()
