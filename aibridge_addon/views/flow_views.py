"""Flows as mitmproxy's own interfaces show them: content views, comments, marks and limits.

Where nobody sees more of a flow than a line, as in `aibridge proxy`, it does nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mitmproxy import ctx, hooks, http, optmanager

from aibridge_addon.fact_bus import Handlers
from aibridge_addon.facts import Interception
from aibridge_addon.formats import FORMATS, Format
from aibridge_addon.providers.routing import Router
from aibridge_addon.views.flow_limit import FlowLimit
from aibridge_addon.views.flow_notes import FlowNotes

_INTERACTIVE = "view"
"""The addon that mitmweb and the console list flows with."""
_SAVED = "save_stream_file"
"""The option that names a file for flows."""
_SCRIPTS = "scripts"
_OWN_SCRIPT = Path(__file__).resolve().parent.parent / "__init__.py"
_STORED = "store_streamed_bodies"
_SHOWS_BODIES = 3
"""Value of `flow_detail` from which mitmdump prints bodies."""
_API = "aibridge_api"
"""Key of the flow's metadata, which is saved with the flow."""


class FlowViews:
    """Connects what is known about flows to mitmproxy's interfaces."""

    def __init__(self, router: Callable[[], Router]) -> None:
        self._router = router
        self._view = ctx.master.addons.get(_INTERACTIVE)
        self.is_shown = bool(self._shows_bodies() or _option(_SAVED) or _has_other_scripts())
        """True if an interface shows flows, a file gets them, or another script may read them."""
        self._notes = FlowNotes(self._announce_update)
        self._limit = FlowLimit(self._remove)
        if self.is_shown:
            # Imported here: mitmproxy's content views take megabytes of memory.
            from aibridge_addon.views.content_views import register_views

            register_views(self._format_of)
        if self._shows_bodies() and not _is_set(_STORED):
            ctx.options.update(**{_STORED: True})

    def limit(self, flows: int | None, size: int | None) -> None:
        """Bound the flows that are kept, by their number and their bytes."""
        self._limit.most, self._limit.most_bytes = flows, size

    @property
    def handlers(self) -> Handlers:
        """Handlers of the facts that comments are made of."""
        return self._notes.handlers if self.is_shown else {}

    def attach(self, flow: http.HTTPFlow, interception: Interception, upstream: int = 0) -> None:
        """Show the facts of an interception, or of one upstream request of it, with a flow."""
        flow.metadata["aibridge_interception_id"] = interception.id
        flow.metadata[_API] = interception.api
        if self.is_shown:
            self._notes.attach(flow, interception, upstream)

    def flow_ended(self, flow: http.HTTPFlow) -> None:
        """Remove the oldest flows beyond the limits."""
        if self._view is not None:
            self._limit.add(flow)

    def message_added(self, flow: http.HTTPFlow) -> None:
        """Drop the oldest messages of a WebSocket beyond the limits."""
        if self._view is not None:
            self._limit.add_message(flow)

    def _announce_update(self, flow: http.HTTPFlow) -> None:
        if self._view is not None:  # nobody else shows a comment that is written late
            ctx.master.addons.trigger(hooks.UpdateHook([flow]))

    def _shows_bodies(self) -> bool:
        dumps = ctx.master.addons.get("dumper") is not None
        return self._view is not None or (dumps and ctx.options.flow_detail >= _SHOWS_BODIES)

    def _format_of(self, flow: http.HTTPFlow) -> Format | None:
        """Return the wire format of a recorded flow, or else of the route of its address."""
        if api := flow.metadata.get(_API):
            return FORMATS.get(api)
        request, router = flow.request, self._router()
        route = router.forward(request.host, request.path, request.method)
        route = route or router.reverse(request.path, request.method)
        return FORMATS.get(route.api or route.socket or "") if route else None

    def _remove(self, flow: http.HTTPFlow) -> None:
        self._view.remove([flow])


def _option(name: str) -> Any:
    """Return the value of an option that only some of mitmproxy's addons have."""
    return getattr(ctx.options, name) if name in ctx.options else None


def _has_other_scripts() -> bool:
    """Return True if mitmproxy loads another script; this addon may not be a script itself."""
    scripts = (Path(script).expanduser().resolve() for script in _option(_SCRIPTS) or ())
    return any(script != _OWN_SCRIPT for script in scripts)


def _is_set(name: str) -> bool:
    """Return True if somebody has set an option, even to its default."""
    # mitmproxy has no public question for it.
    return ctx.options._options[name].value is not optmanager.unset
