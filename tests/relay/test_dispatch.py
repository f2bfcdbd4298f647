"""Dispatch of events to addons: ours must behave like mitmproxy's."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy import exceptions
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons import disable_h2c
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.test import taddons, tflow

from aibridge_addon.relay.dispatch import FastAddonManager, dispatch_fast

type Manager = Callable[[Any], AddonManager]


class Listener:
    """Addon that appends its name to a list at each request."""

    def __init__(self, name: str, heard: list[str], *addons: Any) -> None:
        self.name = name
        self.heard = heard
        self.addons = list(addons)

    def request(self, flow: Any) -> None:
        self.heard.append(self.name)


class Waiting(Listener):
    async def request(self, flow: Any) -> None:  # type: ignore[override]
        self.heard.append(self.name)


class Halting(Listener):
    def request(self, flow: Any) -> None:
        super().request(flow)
        raise exceptions.AddonHalt


class Failing(Listener):
    def request(self, flow: Any) -> None:
        super().request(flow)
        raise RuntimeError("a bug")


@pytest.fixture(params=[AddonManager, FastAddonManager])
def manager(request: pytest.FixtureRequest) -> Any:
    """mitmproxy's addon manager, and ours."""
    with taddons.context() as context:
        yield request.param(context.master)


async def heard_by(manager: AddonManager, heard: list[str]) -> list[str]:
    """Return the names of the addons that a request reaches."""
    heard.clear()
    await manager.handle_lifecycle(HttpRequestHook(tflow.tflow()))
    return list(heard)


async def test_event_reaches_all_addons_with_a_hook_in_order(manager: AddonManager) -> None:
    heard: list[str] = []
    inner = Listener("inner", heard)
    manager.add(Listener("first", heard, inner), disable_h2c.DisableH2C(), Waiting("last", heard))
    assert await heard_by(manager, heard) == ["first", "inner", "last"]
    assert await heard_by(manager, heard) == ["first", "inner", "last"]


async def test_event_reaches_added_addons_and_not_removed_ones(manager: AddonManager) -> None:
    heard: list[str] = []
    first, second = Listener("first", heard), Listener("second", heard)
    manager.add(first)
    assert await heard_by(manager, heard) == ["first"]
    manager.add(second)
    assert await heard_by(manager, heard) == ["first", "second"]
    manager.remove(first)
    assert await heard_by(manager, heard) == ["second"]
    manager.clear()
    assert await heard_by(manager, heard) == []


async def test_event_reaches_a_reloaded_script_once(manager: AddonManager) -> None:
    heard: list[str] = []
    loader = Listener("loader", heard)
    manager.add(loader)
    for name in ("old", "new"):
        for addon in loader.addons:
            manager.remove(addon)
        loader.addons = [manager.register(Listener(name, heard))]
        assert await heard_by(manager, heard) == ["loader", name]


async def test_addon_halt_stops_the_event(manager: AddonManager) -> None:
    heard: list[str] = []
    manager.add(Listener("first", heard), Halting("second", heard), Listener("third", heard))
    assert await heard_by(manager, heard) == ["first", "second"]


async def test_exception_of_an_addon_is_logged_and_the_event_continues(
    manager: AddonManager, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    manager.add(Failing("first", heard), Listener("second", heard))
    with caplog.at_level(logging.ERROR):
        assert await heard_by(manager, heard) == ["first", "second"]
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    ("manager_type", "names"),
    [(AddonManager, ["first", "last"]), (FastAddonManager, ["first", "second", "last"])],
)
async def test_script_after_a_failing_one_gets_the_event_unlike_in_mitmproxy(
    manager_type: Manager, names: list[str]
) -> None:
    heard: list[str] = []
    with taddons.context() as context:
        manager = manager_type(context.master)
        scripts = Failing("first", heard), Listener("second", heard)
        loader = disable_h2c.DisableH2C()
        loader.addons = list(scripts)  # type: ignore[attr-defined]
        manager.add(loader, Listener("last", heard))
        assert await heard_by(manager, heard) == names


async def test_running_manager_becomes_fast_and_still_hears_of_later_addons() -> None:
    heard: list[str] = []
    with taddons.context() as context:
        manager: Any = AddonManager(context.master)
        context.master.addons = manager
        manager.add(Listener("first", heard))
        dispatch_fast(context.master)
        assert isinstance(context.master.addons, FastAddonManager)
        assert await heard_by(manager, heard) == ["first"]
        later = Listener("later", heard)
        manager.add(later)
        assert await heard_by(manager, heard) == ["first", "later"]
        manager.remove(later)
        assert await heard_by(manager, heard) == ["first"]


def test_manager_of_another_type_stays_as_it_is() -> None:
    class Other(AddonManager):
        pass

    with taddons.context() as context:
        context.master.addons = manager = Other(context.master)  # type: ignore[no-untyped-call]
        dispatch_fast(context.master)
        assert type(manager) is Other
