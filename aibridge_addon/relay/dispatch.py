"""Fast dispatch of mitmproxy's events to addons.

mitmproxy looks every hook up in every addon at every event. `FastAddonManager` does so once for
each kind of event, and again after addons are added or removed. Order, halting and error handling
are those of mitmproxy's `AddonManager`; `tests/relay/test_dispatch.py` compares the two. One thing
differs on purpose: after an error in a script, mitmproxy leaves out the scripts after it. Here they
still get the event, so that a bug in another script lets no request past admission and the record.
"""

import inspect
from collections.abc import Callable
from typing import Any

from mitmproxy import exceptions, flow, hooks
from mitmproxy.addonmanager import AddonManager, safecall
from mitmproxy.master import Master

_UPDATE = hooks.UpdateHook([])


class FastAddonManager(AddonManager):
    """Calls only the addons that have a hook for an event."""

    def __init__(self, master: Master) -> None:
        super().__init__(master)  # type: ignore[no-untyped-call]
        self._listeners: dict[str, list[Callable[..., Any]]] = {}

    def register(self, addon: Any) -> Any:
        """Register an addon; mitmproxy calls this for every addon that is added."""
        self._listeners.clear()
        return super().register(addon)  # type: ignore[no-untyped-call]

    def remove(self, addon: Any) -> None:
        """Remove an addon."""
        self._listeners.clear()
        super().remove(addon)  # type: ignore[no-untyped-call]

    def clear(self) -> None:
        """Remove all addons."""
        self._listeners.clear()
        super().clear()  # type: ignore[no-untyped-call]

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Call the listeners of an event, then those of updates if it changes a flow."""
        (message, *_) = event.args()
        await self.trigger_event(event)
        if isinstance(message, flow.Flow) and self._listeners_of(_UPDATE):
            await self.trigger_event(hooks.UpdateHook([message]))

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Call the listeners of an event in order, until one of them raises `AddonHalt`."""
        listeners = self._listeners_of(event)
        args = event.args() if listeners else ()
        for listener in listeners:
            try:
                result = listener(*args)
                if result is not None and inspect.isawaitable(result):
                    await result
            except exceptions.AddonHalt:
                return
            except Exception:  # the edge: mitmproxy decides which are logged
                with safecall():
                    raise

    def _listeners_of(self, event: hooks.Hook) -> list[Callable[..., Any]]:
        listeners = self._listeners.get(event.name)
        if listeners is None:
            found = (self._iter_hooks(addon, event) for addon in self.chain)
            listeners = [hook for hooks_of_addon in found for _, hook in hooks_of_addon]
            self._listeners[event.name] = listeners
        return listeners


def dispatch_fast(master: Master) -> None:
    """Make the dispatch of a running mitmproxy fast; a type of its own stays as it is."""
    if type(master.addons) is AddonManager:
        master.addons.__class__ = FastAddonManager
        vars(master.addons)["_listeners"] = {}
