"""Stores facts, access tokens and hidden turns, and answers usage queries.

`protocol` is the contract of a store, which `sqlite` and `postgres` implement. `recorder` is the
contract of third-party recorders, which only receive facts.
"""

from aibridge_addon.store.protocol import Store
from aibridge_addon.store.registry import open_store, register

__all__ = ["Store", "open_store", "register"]
