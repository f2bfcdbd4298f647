"""Addons and options of the master that `aibridge proxy` runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import exceptions

from aibridge_addon.cli.master import make_master
from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.serving import Bridge
from aibridge_addon.relay.dispatch import FastAddonManager

MODES = ("regular@127.0.0.1:0",)


@asynccontextmanager
async def made(**plan: Any) -> AsyncIterator[Any]:
    """Yield a master that does not listen."""
    bridge = Bridge()
    master = make_master(Plan(modes=MODES, **plan), bridge)
    try:
        yield master
    finally:
        bridge.done()
        master.addons.get("errorcheck").finish()
        master._legacy_log_events.uninstall()


async def names(**plan: Any) -> list[str]:
    """Return the names of the addons of a plan, in order."""
    async with made(**plan) as master:
        return [getattr(addon, "name", type(addon).__name__) for addon in master.addons.chain]


@pytest.fixture
def here(confdir: Path, tmp_path: Path) -> tuple[str, ...]:
    """Options that keep files out of the home folder of the user who runs the tests."""
    return (f"confdir={confdir}", f"aibridge_db={tmp_path}/aibridge.sqlite3")


async def test_default_addons_are_the_ones_that_proxying_needs(here: tuple[str, ...]) -> None:
    assert await names(sets=here) == [
        "Core",
        "DisableH2C",
        "Proxyserver",
        "aibridge",
        "NextLayer",
        "TlsConfig",
        "ErrorCheck",
    ]


@pytest.mark.parametrize(
    ("option", "addon"),
    [
        ("proxyauth=alice:secret", "ProxyAuth"),
        ("upstream_auth=alice:secret", "UpstreamAuth"),
        ("save_stream_filter=~all", "Save"),
        ("map_remote=|a|b", "MapRemote"),
        ("block_private=true", "Block"),
    ],
)
async def test_option_adds_its_addon(here: tuple[str, ...], option: str, addon: str) -> None:
    assert addon in await names(sets=(*here, option))


async def test_block_addon_runs_if_other_machines_can_connect(
    here: tuple[str, ...],
) -> None:
    assert "Block" in await names(sets=here, is_local=False)


@pytest.mark.parametrize("addons", ["all", "web"])
async def test_our_addon_precedes_next_layer(here: tuple[str, ...], addons: str) -> None:
    chain = await names(addons=addons, sets=here)
    assert chain.index("ScriptLoader") + 1 == chain.index("aibridge") < chain.index("NextLayer")
    assert len(chain) > 30


async def test_set_overrides_flags_and_flags_override_config_yaml(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "http2: false\naibridge_commit_wait_ms: 1\nweb_port: 5\nupstream_cert: false\n"
    )
    async with made(
        defaults={"upstream_cert": True, "aibridge_commit_wait_ms": 0},
        flags={"aibridge_commit_wait_ms": 2, "aibridge_capture": "tools"},
        sets=(
            f"confdir={tmp_path}",
            f"aibridge_db={tmp_path}/aibridge.sqlite3",
            "aibridge_capture=prompts",
        ),
    ) as master:
        options = master.options
        assert (options.upstream_cert, options.http2) == (False, False)
        assert options.aibridge_commit_wait_ms == 2
        assert options.aibridge_capture == "prompts"
        assert (tmp_path / "aibridge.sqlite3").exists()


async def test_option_of_a_missing_addon_is_an_error(here: tuple[str, ...]) -> None:
    with pytest.raises(exceptions.OptionsError, match=r"flow_detail.*--all-addons"):
        await names(sets=(*here, "flow_detail=2"))


@pytest.mark.parametrize("addons", ["needed", "all"])
async def test_running_proxy_looks_hooks_up_once(here: tuple[str, ...], addons: str) -> None:
    async with made(addons=addons, sets=here) as master:
        master.on_up = lambda: None
        await master.running()
        assert isinstance(master.addons, FastAddonManager)
