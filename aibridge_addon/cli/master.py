"""Builds the mitmproxy master of `aibridge proxy`: its addons and options."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from mitmproxy import exceptions, hooks, optmanager
from mitmproxy.addons import errorcheck, next_layer, script
from mitmproxy.master import Master
from mitmproxy.options import Options

from aibridge_addon.addon import AIBridge
from aibridge_addon.cli.authority import AuthorityError, key_path, read_authority
from aibridge_addon.cli.chosen_addons import choose_addons
from aibridge_addon.cli.plan import Plan
from aibridge_addon.config.options import PREFIX, unknown_option
from aibridge_addon.relay.header_lookups import skip_type_checks

_DH_PARAMETERS = "mitmproxy-dhparam.pem"
"""File that mitmproxy creates beside the CA."""


class ReportsStart:
    """Mixin for masters that calls `on_up` once the proxy works."""

    on_up: Callable[[], None]

    async def running(self) -> None:
        """Tell the addons that mitmproxy runs; then, unless one of them failed, call `on_up`."""
        await super().running()  # type: ignore[misc]
        master = cast(Master, self)
        await master.addons.get("errorcheck").shutdown_if_errored()
        self.on_up()


class _Master(ReportsStart, Master):
    pass


def _make_web_master(options: Options) -> Master:
    # Imported here: its web server takes megabytes of memory.
    from mitmproxy.tools.web.master import WebMaster

    class _WebMaster(ReportsStart, WebMaster):
        pass

    return _WebMaster(options, with_termlog=False)


def make_master(plan: Plan, bridge: AIBridge) -> Master:
    """Return a master with its addons and options.

    Raises:
        OptionsError: an option is wrong.
        AuthorityError: the CA cannot be used.
    """
    options = Options()
    from_file = _config_yaml(plan)
    _check_authority(plan, from_file)
    master: Master
    if plan.addons == "web":
        master = _make_web_master(options)
    else:
        master = _Master(options)
        set_options = {*from_file, *_names(plan.sets)}
        if plan.addons == "needed" and "scripts" not in set_options:
            skip_type_checks()
        master.addons.add(*choose_addons(plan, set_options), errorcheck.ErrorCheck())
    _set_options(master, plan, from_file)
    _add(master, bridge, plan)
    return master


def _add(master: Master, bridge: AIBridge, plan: Plan) -> None:
    """Add our addon in the place of scripts: it must see connections before `NextLayer` does.

    Raises:
        OptionsError: an option is wrong, or unknown.
    """
    master.addons.register(bridge)
    if unknown := sorted(_names(plan.sets) & master.options.deferred.keys()):
        needed = plan.addons == "needed"
        raise exceptions.OptionsError("\n".join(_unknown(name, needed) for name in unknown))
    chain = master.addons.chain
    before = (script.ScriptLoader, next_layer.NextLayer)
    place = next(index for index, addon in enumerate(chain) if isinstance(addon, before))
    chain.insert(place + isinstance(chain[place], script.ScriptLoader), bridge)
    # With all options at once, as for a script: the first call starts the addon.
    master.addons.invoke_addon_sync(bridge, hooks.ConfigureHook(master.options.keys()))


def _unknown(name: str, needed: bool) -> str:
    """Return the message for an unknown option; `needed`: only the necessary addons run."""
    if name.startswith(PREFIX):
        return f"--set {unknown_option(name)}"
    hint = "; options of further addons of mitmproxy need --all-addons" * needed
    return f"--set {name}: unknown option{hint}"


def _names(sets: Iterable[str]) -> set[str]:
    return {spec.partition("=")[0] for spec in sets}


def _check_authority(plan: Plan, from_file: Mapping[str, Any]) -> None:
    """Check the CA: mitmproxy would report a mistake by a traceback.

    Raises:
        AuthorityError: the CA cannot be used.
    """
    options = Options(**{"confdir": from_file["confdir"]} if "confdir" in from_file else {})
    options.set(*(spec for spec in plan.sets if spec.startswith(("confdir=", "cert_passphrase="))))
    folder = Path(options.confdir).expanduser()
    if key_path(folder).exists() and not (
        options.cert_passphrase or "cert_passphrase" in from_file
    ):
        read_authority(folder)
    missing = [each for each in (key_path(folder), folder / _DH_PARAMETERS) if not each.exists()]
    if missing:
        _check_writable(folder, missing[0])


def _check_writable(folder: Path, missing: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AuthorityError(f"cannot write to {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise AuthorityError(
            f"{missing} does not exist, and {folder} cannot be written to; use --set confdir=FOLDER"
        )


def _config_yaml(plan: Plan) -> dict[str, Any]:
    """Read mitmproxy's `config.yaml` from the chosen `confdir`."""
    options = Options()
    options.set(*(spec for spec in plan.sets if spec.startswith("confdir=")))
    found: dict[str, Any] = {}
    for name in ("config.yaml", "config.yml"):
        path = Path(options.confdir).expanduser() / name
        try:
            found |= optmanager.parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, exceptions.OptionsError) as error:
            raise exceptions.OptionsError(f"{path}: {error}") from error
    return found


def _set_options(master: Master, plan: Plan, from_file: Mapping[str, Any]) -> None:
    """Set the options that exist already, and defer those that our addon will add."""
    values = {**plan.defaults, **from_file, **plan.flags, "mode": list(plan.modes)}
    try:
        master.options.update_defer(**values)
    except TypeError as error:  # mitmproxy's error for a value of a wrong type
        raise exceptions.OptionsError(str(error)) from error
    master.options.set(*plan.sets, defer=True)
