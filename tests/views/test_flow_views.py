"""Flows in mitmproxy's interfaces: stored bodies, removal, and choice of the view."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import contentviews, ctx, http, optmanager
from mitmproxy.test import tflow, tutils
from views.test_flow_notes import INTERCEPTION

import aibridge_addon
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.routing import Router
from aibridge_addon.views.flow_views import FlowViews

STORED = "store_streamed_bodies"


class View:
    """Stand-in for mitmproxy's list of flows."""

    def __init__(self) -> None:
        self.removed: list[http.HTTPFlow] = []

    def remove(self, flows: list[http.HTTPFlow]) -> None:
        self.removed += flows


class Interface:
    """Stand-in for mitmproxy with some of its addons."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addons: dict[str, Any] = {}
        self.updated: list[http.HTTPFlow] = []
        self.options = optmanager.OptManager()
        self.options.add_option(STORED, bool, False, "")
        self.options.add_option("flow_detail", int, 1, "")
        self.options.add_option("save_stream_file", str, "", "")
        self.options.add_option("scripts", Sequence[str], [aibridge_addon.__file__], "")
        self.options.add_option("protobuf_definitions", str, "", "")
        manager = SimpleNamespace(
            get=self.addons.get, trigger=lambda hook: self.updated.extend(hook.flows)
        )
        monkeypatch.setattr(ctx, "master", SimpleNamespace(addons=manager), raising=False)
        monkeypatch.setattr(ctx, "options", self.options, raising=False)

    def start(self) -> FlowViews:
        return FlowViews(lambda: Router(DEFAULT_PROVIDERS))

    @property
    def stores_bodies(self) -> bool:
        return bool(getattr(self.options, STORED))


@pytest.fixture
def interface(monkeypatch: pytest.MonkeyPatch) -> Interface:
    return Interface(monkeypatch)


def test_streamed_bodies_are_stored_where_flows_are_listed(interface: Interface) -> None:
    interface.addons["view"] = View()
    interface.start()
    assert interface.stores_bodies


@pytest.mark.parametrize(("detail", "stores"), [(2, False), (3, True), (4, True)])
def test_mitmdump_stores_streamed_bodies_if_it_prints_them(
    interface: Interface, detail: int, stores: bool
) -> None:
    interface.addons["dumper"] = object()
    interface.options.update(flow_detail=detail)
    interface.start()
    assert interface.stores_bodies is stores


def test_chosen_storing_of_bodies_stays(interface: Interface) -> None:
    interface.addons["view"] = View()
    interface.options.update(**{STORED: False})
    interface.start()
    assert not interface.stores_bodies


def test_nothing_is_done_where_no_interface_shows_flows(interface: Interface) -> None:
    views = interface.start()
    flow = tflow.tflow(resp=True)
    views.attach(flow, INTERCEPTION)
    views.flow_ended(flow)
    assert not interface.stores_bodies
    assert views.handlers == {}
    assert flow.metadata["aibridge_interception_id"] == INTERCEPTION.id


@pytest.mark.parametrize(
    ("options", "is_noted"),
    [
        ({}, False),  # a line for each flow
        ({"flow_detail": 3}, True),
        ({"save_stream_file": "flows"}, True),
        ({"scripts": [aibridge_addon.__file__, "another.py"]}, True),
        ({"scripts": ["another.py"]}, True),  # as in `aibridge proxy`
    ],
)
def test_mitmdump_notes_what_somebody_may_see(
    interface: Interface, options: dict[str, Any], is_noted: bool
) -> None:
    interface.addons["dumper"] = object()
    interface.options.update(**options)
    assert interface.start().is_shown is is_noted


def test_oldest_flow_is_removed_from_the_list(interface: Interface) -> None:
    view = interface.addons["view"] = View()
    views = interface.start()
    views.limit(1, None)
    flows = [tflow.tflow(resp=True) for _ in range(2)]
    for flow in flows:
        flow.live = False
        views.flow_ended(flow)
    assert view.removed == flows[:1]


def test_body_of_a_recorded_flow_has_its_own_view_wherever_it_went(interface: Interface) -> None:
    interface.addons["view"] = View()
    views = interface.start()
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Why?"}]}'
    flow = tflow.tflow(req=tutils.treq(host="127.0.0.1", content=body))
    assert contentviews.prettify_message(flow.request, flow).view_name != "anthropic messages"
    views.attach(flow, INTERCEPTION)
    assert contentviews.prettify_message(flow.request, flow).view_name == "anthropic messages"


def test_body_of_a_flow_without_record_has_the_view_of_its_route(interface: Interface) -> None:
    interface.addons["view"] = View()
    interface.start()
    body = b'{"model": "m", "input": "Why?"}'
    request = tutils.treq(
        method=b"POST", host="api.openai.com", path=b"/v1/responses", content=body
    )
    flow = tflow.tflow(req=request)
    assert contentviews.prettify_message(flow.request, flow).view_name == "openai responses"
