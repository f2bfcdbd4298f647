"""Rendezvous hashing: orders keys for a conversation, the same in every process. Pure.

Each key gets its share by weight. Adding or removing a key moves only the conversations that
prefer that key.
"""

import hashlib
import math
from collections.abc import Iterable

from aibridge_addon.providers.central_keys import CentralKey

_RANGE = 2.0**64


def ranked(affinity: str, keys: Iterable[CentralKey]) -> list[CentralKey]:
    """Return the keys in the order in which a conversation prefers them."""
    return sorted(keys, key=lambda key: _score(affinity, key), reverse=True)


def _score(affinity: str, key: CentralKey) -> float:
    digest = hashlib.blake2b(f"{key.env}\0{affinity}".encode(), digest_size=8).digest()
    fraction = (int.from_bytes(digest) + 0.5) / _RANGE
    return -key.weight / math.log(fraction)
