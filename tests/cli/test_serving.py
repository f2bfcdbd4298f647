"""Which addons run, and in which order."""

import pytest
from mitmproxy import exceptions

from aibridge_addon.cli.serving import Bridge, Plan, _make_master

MODES = ("regular@127.0.0.1:0",)


async def names(**plan: object) -> list[str]:
    """Return the addons of a plan, in their order."""
    master = _make_master(Plan(modes=MODES, **plan), Bridge())  # type: ignore[arg-type]
    try:
        return [getattr(addon, "name", type(addon).__name__) for addon in master.addons.chain]
    finally:
        master.addons.get("errorcheck").finish()
        master._legacy_log_events.uninstall()


@pytest.fixture
def confdir_set(confdir: object) -> str:
    """Keeps mitmproxy from the home of whoever runs the tests."""
    return f"confdir={confdir}"


async def test_only_what_proxying_needs_runs(confdir_set: str) -> None:
    assert await names(sets=(confdir_set,)) == [
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
        ("save_stream_file=flows", "Save"),
        ("map_remote=|a|b", "MapRemote"),
        ("block_private=true", "Block"),
    ],
)
async def test_an_option_brings_its_addon(
    confdir_set: str, option: str, addon: str, tmp_path: object
) -> None:
    option = option.replace("flows", f"{tmp_path}/flows")
    assert addon in await names(sets=(confdir_set, option))


async def test_who_comes_from_the_internet_is_kept_out_as_by_mitmdump(confdir_set: str) -> None:
    assert "Block" in await names(sets=(confdir_set,), is_local=False)


@pytest.mark.parametrize("addons", ["all", "web"])
async def test_the_addon_sees_connections_before_the_built_in_decides(
    confdir_set: str, addons: str
) -> None:
    chain = await names(addons=addons, sets=(confdir_set,))
    assert chain.index("ScriptLoader") + 1 == chain.index("aibridge") < chain.index("NextLayer")
    assert len(chain) > 30


async def test_what_is_set_wins_over_flags_and_those_over_the_file(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "config.yaml").write_text(
        "http2: false\naibridge_commit_wait_ms: 1\nconnection_strategy: eager\nconsole_layout: x\n"
    )
    master = _make_master(
        Plan(
            modes=MODES,
            usual={"connection_strategy": "lazy", "aibridge_commit_wait_ms": 0},
            flags={"aibridge_commit_wait_ms": 2, "aibridge_capture": "tools"},
            sets=(f"confdir={folder}", "aibridge_capture=prompts"),
        ),
        Bridge(),
    )
    options = master.options
    master.addons.get("errorcheck").finish()
    master._legacy_log_events.uninstall()
    assert options.connection_strategy == "eager"
    assert options.http2 is False
    assert options.aibridge_commit_wait_ms == 2
    assert options.aibridge_capture == "prompts"


async def test_an_option_of_an_addon_that_does_not_run_is_named(confdir_set: str) -> None:
    with pytest.raises(exceptions.OptionsError, match=r"flow_detail.*--all-addons"):
        await names(sets=(confdir_set, "flow_detail=2"))
