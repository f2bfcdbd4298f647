"""The components that further sends of a request use."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from aibridge_addon.access.policies import Asked, Refusal
from aibridge_addon.exchange.exchange import Exchange
from aibridge_addon.exchange.fallbacks import Fallbacks
from aibridge_addon.exchange.key_pools import KeyPools
from aibridge_addon.exchange.last_resort import LastResort
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.relay.bridge import Bridge

type CheckUpstream = Callable[[Asked], Awaitable[Refusal | None]]
"""Asks the policies, with current access tokens, about a further upstream request."""
type Register = Callable[[Exchange], AbstractAsyncContextManager[None]]
"""Makes an inner call known to the hooks while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDependencies:
    """Built once by `KeysAndRetries`."""

    pools: KeyPools
    fallbacks: Fallbacks
    last_resort: LastResort
    bridge: Bridge
    register: Register
    check_upstream: CheckUpstream
    metrics: Metrics
    clock: Callable[[], float] = time.monotonic
