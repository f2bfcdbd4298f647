"""Chooses the mitmproxy addons of a proxy.

mitmproxy passes every event to every addon, which is half of the cost of a small request, and an
addon's imports stay in memory. By default, only the addons that proxying needs run, and those whose
options are set; the others are not even imported (`deferred_imports`).
"""

from typing import Any

from mitmproxy.addons import (
    block,
    core,
    default_addons,
    disable_h2c,
    dumper,
    keepserving,
    next_layer,
    proxyserver,
    readfile,
    tlsconfig,
)
from mitmproxy.options import Options

from aibridge_addon.cli.plan import Plan
from aibridge_addon.config.options import PREFIX

_NEEDED = (
    core.Core,
    disable_h2c.DisableH2C,
    proxyserver.Proxyserver,
    next_layer.NextLayer,
    tlsconfig.TlsConfig,
)


def choose_addons(plan: Plan, wanted: set[str]) -> list[Any]:
    """Return the addons of a plan, in mitmproxy's order; `wanted` are the options that are set."""
    if plan.addons == "all":  # the addons of mitmdump
        more = [dumper.Dumper(), keepserving.KeepServing(), readfile.ReadFileStdin()]
        return [*default_addons(), *more]
    needed = (*_NEEDED, *(() if plan.is_local else (block.Block,)))
    chosen = [addon() for addon in needed]
    others = {name for name in wanted - _option_names(chosen) if not name.startswith(PREFIX)}
    if not others:
        return chosen
    return [
        addon
        for addon in default_addons()
        if isinstance(addon, needed) or not others.isdisjoint(_options_of(addon))
    ]


def _option_names(addons: list[Any]) -> set[str]:
    """Return the names of mitmproxy's own options and of the addons'."""
    return set(Options().keys()).union(*map(_options_of, addons))


class _OptionNames:
    """Stand-in for mitmproxy's `Loader` that collects the options an addon would add."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_option(self, name: str, *_: Any, **__: Any) -> None:
        self.names.add(name)

    def add_command(self, *_: Any) -> None:
        pass


def _options_of(addon: Any) -> set[str]:
    names = _OptionNames()
    if hasattr(addon, "load"):
        addon.load(names)
    return names.names
