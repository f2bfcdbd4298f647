"""Which addons run, and in which order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import exceptions

from aibridge_addon.cli.master import make_master
from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.serving import Bridge

MODES = ("regular@127.0.0.1:0",)


@asynccontextmanager
async def made(**plan: Any) -> AsyncIterator[Any]:
    """Give a master, which listens nowhere."""
    bridge = Bridge()
    master = make_master(Plan(modes=MODES, **plan), bridge)
    try:
        yield master
    finally:
        bridge.done()
        master.addons.get("errorcheck").finish()
        master._legacy_log_events.uninstall()


async def names(**plan: Any) -> list[str]:
    """Return the addons of a plan, in their order."""
    async with made(**plan) as master:
        return [getattr(addon, "name", type(addon).__name__) for addon in master.addons.chain]


@pytest.fixture
def here(confdir: Path, tmp_path: Path) -> tuple[str, ...]:
    """Options that keep all of it from the home of whoever runs the tests."""
    return (f"confdir={confdir}", f"aibridge_db={tmp_path}/aibridge.sqlite3")


async def test_only_what_proxying_needs_runs(here: tuple[str, ...]) -> None:
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
async def test_an_option_brings_its_addon(here: tuple[str, ...], option: str, addon: str) -> None:
    assert addon in await names(sets=(*here, option))


async def test_who_comes_from_the_internet_is_kept_out(
    here: tuple[str, ...],
) -> None:
    assert "Block" in await names(sets=here, is_local=False)


@pytest.mark.parametrize("addons", ["all", "web"])
async def test_the_addon_sees_connections_before_the_built_in_decides(
    here: tuple[str, ...], addons: str
) -> None:
    chain = await names(addons=addons, sets=here)
    assert chain.index("ScriptLoader") + 1 == chain.index("aibridge") < chain.index("NextLayer")
    assert len(chain) > 30


async def test_what_is_set_wins_over_flags_and_those_over_the_file(tmp_path: Path) -> None:
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


async def test_an_option_of_an_addon_that_does_not_run_is_named(here: tuple[str, ...]) -> None:
    with pytest.raises(exceptions.OptionsError, match=r"flow_detail.*--all-addons"):
        await names(sets=(*here, "flow_detail=2"))
