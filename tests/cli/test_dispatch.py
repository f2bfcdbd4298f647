"""Our way of handing events to addons, beside mitmproxy's own: both must do the same."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy import exceptions
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons import disable_h2c
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.test import taddons, tflow

from aibridge_addon.cli.dispatch import FastAddonManager

type Manager = Callable[[Any], AddonManager]


class Listener:
    """Writes down what it hears."""

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
    """Each of the two."""
    with taddons.context() as context:
        yield request.param(context.master)


async def heard_by(manager: AddonManager, heard: list[str]) -> list[str]:
    """Return who hears of a request."""
    heard.clear()
    await manager.handle_lifecycle(HttpRequestHook(tflow.tflow()))
    return list(heard)


async def test_all_who_listen_are_told_in_order(manager: AddonManager) -> None:
    heard: list[str] = []
    inner = Listener("inner", heard)
    manager.add(Listener("first", heard, inner), disable_h2c.DisableH2C(), Waiting("last", heard))
    assert await heard_by(manager, heard) == ["first", "inner", "last"]
    assert await heard_by(manager, heard) == ["first", "inner", "last"]


async def test_who_comes_later_is_told_and_who_has_gone_is_not(manager: AddonManager) -> None:
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


async def test_a_script_that_is_loaded_again_is_told_once(manager: AddonManager) -> None:
    heard: list[str] = []
    loader = Listener("loader", heard)
    manager.add(loader)
    for name in ("old", "new"):
        for addon in loader.addons:
            manager.remove(addon)
        loader.addons = [manager.register(Listener(name, heard))]
        assert await heard_by(manager, heard) == ["loader", name]


async def test_an_addon_may_say_that_it_is_enough(manager: AddonManager) -> None:
    heard: list[str] = []
    manager.add(Listener("first", heard), Halting("second", heard), Listener("third", heard))
    assert await heard_by(manager, heard) == ["first", "second"]


async def test_a_bug_of_one_is_logged_and_the_others_are_told(
    manager: AddonManager, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    manager.add(Failing("first", heard), Listener("second", heard))
    with caplog.at_level(logging.ERROR):
        assert await heard_by(manager, heard) == ["first", "second"]
    assert "a bug" in caplog.text
