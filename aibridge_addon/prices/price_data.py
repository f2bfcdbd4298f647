"""Price data of genai-prices in memory: whole, or packed until a seller is first asked for.

The whole data takes 5 MiB of memory and a quarter second; one seller takes a fifth of it.
"""

import pickle
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_prices.types import Provider

type Packed = Mapping[str, bytes]
"""Packed data by the id of the seller."""

_lock = threading.Lock()
_packed: dict[str, bytes] = {}
_wait_for_packed: Callable[[], Packed] | None = None


def expect(wait: Callable[[], Packed]) -> None:
    """Take the data of some sellers from `wait`, which is called once, at the first use."""
    global _wait_for_packed
    _wait_for_packed = wait


def load() -> None:
    """Load the data now rather than at the first look-up: all of it, unless some is packed."""
    if _wait_for_packed or _packed:
        _load_packed()
    else:
        _all_providers()


def packed(seller_ids: Iterable[str]) -> Packed:
    """Return the packed data of some sellers."""
    return {
        id_: zlib.compress(pickle.dumps(found))
        for id_ in set(seller_ids)
        if (found := _with_fallbacks(id_))
    }


@cache
def providers_of(seller_id: str) -> "Sequence[Provider]":
    """Return the data of a seller and of the sellers whose models it also sells."""
    data = _load_packed().get(seller_id)
    if data is None:
        return _with_fallbacks(seller_id)
    found: Sequence[Provider] = pickle.loads(zlib.decompress(data))  # noqa: S301 packed by us
    return found


def seller_ids() -> list[str]:
    """Return the ids of all sellers."""
    return [provider.id for provider in _all_providers()]


def _load_packed() -> Packed:
    global _wait_for_packed
    with _lock:
        if wait := _wait_for_packed:
            _wait_for_packed = None
            _packed.update(wait())
    return _packed


def _with_fallbacks(seller_id: str) -> "Sequence[Provider]":
    """Return the data of a seller and of those that it falls back to; empty if it is unknown."""
    by_id = {provider.id: provider for provider in _all_providers()}
    if (own := by_id.get(seller_id)) is None:
        return ()
    others = (by_id.get(id_) for id_ in own.fallback_model_providers or ())
    return (own, *filter(None, others))


@cache
def _all_providers() -> "list[Provider]":
    from genai_prices.data import providers

    return providers
