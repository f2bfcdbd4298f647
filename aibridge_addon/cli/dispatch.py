"""An `AddonManager` that knows who listens to what, instead of asking all addons each time.

mitmproxy looks every hook up in every addon at every event. Here that is done once for each kind of
event, and anew whenever an addon comes or goes. Order, halting and how errors are handled are as in
the original; `tests/cli/test_dispatch.py` compares the two.
"""

import inspect
from collections.abc import Callable
from typing import Any

from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import AddonManager, safecall
from mitmproxy.master import Master


class KnowingAddonManager(AddonManager):
    """Dispatches events to those who listen."""

    def __init__(self, master: Master) -> None:
        super().__init__(master)  # type: ignore[no-untyped-call]
        self._listeners: dict[str, list[Callable[..., Any]]] = {}

    def register(self, addon: Any) -> Any:
        """Take an addon in; so it goes for all the ways in which addons come."""
        self._listeners.clear()
        return super().register(addon)  # type: ignore[no-untyped-call]

    def remove(self, addon: Any) -> None:
        """Let an addon go."""
        self._listeners.clear()
        super().remove(addon)  # type: ignore[no-untyped-call]

    def clear(self) -> None:
        """Let all go."""
        self._listeners.clear()
        super().clear()  # type: ignore[no-untyped-call]

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Tell everybody who listens, in order, until somebody says that it is enough."""
        listeners = self._listeners.get(event.name)
        if listeners is None:
            listeners = self._listeners[event.name] = self._find(event)
        for listener in listeners:
            try:
                with safecall():
                    result = listener(*event.args())
                    if result is not None and inspect.isawaitable(result):
                        await result
            except exceptions.AddonHalt:
                return

    def _find(self, event: hooks.Hook) -> list[Callable[..., Any]]:
        return [hook for addon in self.chain for _, hook in self._iter_hooks(addon, event)]
