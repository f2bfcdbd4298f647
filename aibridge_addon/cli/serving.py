"""mitmproxy, with the addon, as `aibridge proxy` runs it: from the start to a graceful end.

mitmproxy hands every event to every addon it has, which for a small request is half of what it
costs. So, unless told otherwise, only those addons are there that proxying needs, and those whose
options somebody set. What each addon does stays mitmproxy's business.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from mitmproxy import exceptions, hooks, http, optmanager
from mitmproxy.addons import (
    block,
    core,
    default_addons,
    disable_h2c,
    dumper,
    errorcheck,
    keepserving,
    next_layer,
    proxyserver,
    readfile,
    script,
    tlsconfig,
)
from mitmproxy.master import Master
from mitmproxy.options import Options

from aibridge_addon.addon import AIBridge
from aibridge_addon.cli.authority import AuthorityError, key_path, read_authority
from aibridge_addon.cli.dispatch import KnowingAddonManager
from aibridge_addon.cli.totals import Passed, passed_of
from aibridge_addon.config.settings import PREFIX, unknown_option

logger = logging.getLogger(__name__)

POLL_S = 0.05
"""Between looks at whether something is still open."""

type AddonSet = Literal["needed", "all", "web"]

_NEEDED = (
    core.Core,
    disable_h2c.DisableH2C,
    next_layer.NextLayer,
    proxyserver.Proxyserver,
    tlsconfig.TlsConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    modes: tuple[str, ...]
    """As mitmproxy's option `mode` has them."""
    addons: AddonSet = "needed"
    is_local: bool = True
    """Whether only this machine can reach it."""
    usual: Mapping[str, Any] = field(default_factory=dict)
    """Options that `config.yaml` overrides."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """Options that override `config.yaml`."""
    sets: tuple[str, ...] = ()
    """`name=value` as people write them; they override everything."""
    grace_s: float = 10.0
    """How long the end waits for what is open."""


class StartError(Exception):
    """It cannot run; the message says why."""


class Bridge(AIBridge):
    """The addon, which can also say whether it is busy and what it has seen."""

    name = "aibridge"
    announces = False  # the command does, with more to say

    def __init__(self) -> None:
        super().__init__()
        self._ending = 0

    @property
    def is_busy(self) -> bool:
        """Whether a request to a provider is open."""
        return super().is_busy or self._ending > 0

    @property
    def passed(self) -> Passed:
        """What has passed so far."""
        return passed_of(self.metrics.registry) if self.metrics else Passed()

    # An exchange is no more once its answer is whole; the client gets its end a moment later.

    async def response(self, flow: http.HTTPFlow) -> None:
        """Complete an answer."""
        self._ending += 1
        try:
            await super().response(flow)
        finally:
            self._ending -= 1

    async def error(self, flow: http.HTTPFlow) -> None:
        """Record an answer that broke off."""
        self._ending += 1
        try:
            await super().error(flow)
        finally:
            self._ending -= 1


class _Running:
    """A master that tells when it is up."""

    on_up: Callable[[], None]

    async def running(self) -> None:
        """Tell the addons, and then, if none of them failed, us."""
        await super().running()  # type: ignore[misc]
        master = cast(Master, self)
        await master.addons.get("errorcheck").shutdown_if_errored()
        self.on_up()


class _Master(_Running, Master):
    pass


class _LeanMaster(_Master):
    """For few addons, whose hooks are known."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.addons = KnowingAddonManager(self)


def _make_web_master(options: Options) -> Master:
    # Here: nobody else needs it, and its web server takes megabytes.
    from mitmproxy.tools.web.master import WebMaster

    class WithWebPage(_Running, WebMaster):
        pass

    return WithWebPage(options, with_termlog=False)


def _make_master(plan: Plan, bridge: Bridge) -> Master:
    """Make a master with its addons, and its options set.

    Raises:
        OptionsError: an option is wrong.
        AuthorityError: the CA is.
    """
    options = Options()
    from_file = _config_yaml(plan)
    _check_authority(plan, from_file)
    master: Master
    if plan.addons == "web":
        master = _make_web_master(options)
    else:
        master = _Master(options) if plan.addons == "all" else _LeanMaster(options)
        master.addons.add(*_addons(plan, {*from_file, *_names(plan.sets)}), errorcheck.ErrorCheck())
    _set_options(master, plan, from_file)
    _add(master, bridge, _names(plan.sets))
    return master


def _addons(plan: Plan, wanted: set[str]) -> list[Any]:
    if plan.addons == "all":  # as mitmdump has them
        more = [dumper.Dumper(), keepserving.KeepServing(), readfile.ReadFileStdin()]
        return [*default_addons(), *more]
    return [
        addon for addon in default_addons() if _is_needed(addon, wanted, is_local=plan.is_local)
    ]


def _is_needed(addon: object, wanted: set[str], *, is_local: bool) -> bool:
    if isinstance(addon, _NEEDED):
        return True
    if isinstance(addon, block.Block) and not is_local:
        return True
    return not wanted.isdisjoint(_options_of(addon))


class _Names:
    """Takes the place of mitmproxy's `Loader`, to see which options an addon would add."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_option(self, name: str, *_: Any, **__: Any) -> None:
        self.names.add(name)

    def add_command(self, *_: Any) -> None:
        pass


def _options_of(addon: Any) -> set[str]:
    names = _Names()
    if hasattr(addon, "load"):
        addon.load(names)
    return names.names


def _add(master: Master, bridge: Bridge, given: set[str]) -> None:
    """Add ours where scripts are, since it must see connections before `NextLayer` does.

    Raises:
        OptionsError: an option is wrong, or there is none of a name that was given.
    """
    master.addons.register(bridge)
    if unknown := sorted(given & master.options.deferred.keys()):
        needed = isinstance(master, _LeanMaster)
        raise exceptions.OptionsError("\n".join(_unknown(name, needed) for name in unknown))
    chain = master.addons.chain
    before = (script.ScriptLoader, next_layer.NextLayer)
    place = next(index for index, addon in enumerate(chain) if isinstance(addon, before))
    chain.insert(place + isinstance(chain[place], script.ScriptLoader), bridge)
    # All at once, as for a script: it starts with what it is told first.
    master.addons.invoke_addon_sync(bridge, hooks.ConfigureHook(master.options.keys()))


def _unknown(name: str, needed: bool) -> str:
    """Return what is to be said of an option that there is not."""
    if name.startswith(PREFIX):
        return f"--set {unknown_option(name)}"
    beyond = " that this set of addons knows; see --all-addons" * needed
    return f"--set {name}: no such option{beyond}"


def _names(sets: Iterable[str]) -> set[str]:
    return {spec.partition("=")[0] for spec in sets}


def _check_authority(plan: Plan, from_file: Mapping[str, Any]) -> None:
    """Find out what is wrong with the CA, which mitmproxy would tell by a traceback.

    Raises:
        AuthorityError: what is wrong.
    """
    options = Options(**{"confdir": from_file["confdir"]} if "confdir" in from_file else {})
    options.set(*(spec for spec in plan.sets if spec.startswith(("confdir=", "cert_passphrase="))))
    folder = Path(options.confdir).expanduser()
    if key_path(folder).exists() and not (
        options.cert_passphrase or "cert_passphrase" in from_file
    ):
        read_authority(folder)
    elif not key_path(folder).exists():
        _check_writable(folder)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AuthorityError(f"{folder} cannot be written: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise AuthorityError(f"{folder} cannot be written, and has no CA; see --set confdir=FOLDER")


def _config_yaml(plan: Plan) -> dict[str, Any]:
    """Read mitmproxy's own configuration, from the folder that is asked for."""
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
    """Set what is known, and leave to the addon what will be known when it comes."""
    values = {**plan.usual, **from_file, **plan.flags, "mode": list(plan.modes)}
    try:
        master.options.update_defer(**values)
    except TypeError as error:  # mitmproxy's own word for a value of a wrong type
        raise exceptions.OptionsError(str(error)) from error
    master.options.set(*plan.sets, defer=True)


class _Ending:
    """Ends a master in good order: first what listens, then, once nothing is open, the rest."""

    def __init__(self, master: Master, bridge: Bridge, grace_s: float) -> None:
        self._master = master
        self._bridge = bridge
        self._grace_s = grace_s
        self._task: asyncio.Task[None] | None = None
        self.on_begin: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Begin; when asked again, end at once."""
        if self._task is not None:
            self._master.shutdown()
            return
        self._task = asyncio.get_running_loop().create_task(self._end(), name="aibridge ending")

    async def _end(self) -> None:
        self.on_begin()
        try:
            self._master.options.update(server=False)
            await self._wait()
        finally:
            self._master.shutdown()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s
        if self._is_open():
            logger.info("aibridge: ending, as soon as what is open is done (again: at once)")
        quiet = 0
        # Twice in a row: between a hook and the bytes that follow from it, all looks quiet.
        while quiet < 2 and loop.time() < deadline:
            quiet = 0 if self._is_open() else quiet + 1
            await asyncio.sleep(POLL_S)

    def _is_open(self) -> bool:
        return self._bridge.is_busy or _unsent(self._master.addons.get("proxyserver"))


def _unsent(server: proxyserver.Proxyserver) -> bool:
    """Whether bytes wait for somebody to read them."""
    return any(
        io.writer.transport.get_write_buffer_size()
        for handler in server.connections.values()
        for io in handler.transports.values()
        if isinstance(io.writer, asyncio.StreamWriter)
    )


def serve(
    plan: Plan,
    *,
    on_up: Callable[[Master], None],
    on_change: Callable[[Master], None] = lambda master: None,
    on_end: Callable[[], None] = lambda: None,
    until_eof: bool = False,
) -> Passed:
    """Run until a signal, or the end of stdin, says otherwise; return what has passed.

    `on_up` is called once everything works, `on_change` when there are other settings, `on_end`
    when clients should no longer come.

    Raises:
        StartError: it cannot run.
        SystemExit: it cannot run either, and the log says why.
    """
    bridge = Bridge()
    try:
        asyncio.run(_serve(plan, bridge, on_up, on_change, on_end, until_eof=until_eof))
    except (exceptions.OptionsError, AuthorityError, OSError) as error:
        raise StartError(str(error)) from error
    return bridge.passed


async def _serve(
    plan: Plan,
    bridge: Bridge,
    on_up: Callable[[Master], None],
    on_change: Callable[[Master], None],
    on_end: Callable[[], None],
    *,
    until_eof: bool,
) -> None:
    master = _make_master(plan, bridge)
    ending = _Ending(master, bridge, plan.grace_s)
    ending.on_begin = on_end
    bridge.on_change = lambda: on_change(master)
    cast(_Running, master).on_up = lambda: on_up(master)
    _listen_to_signals(ending, bridge.reload)
    if until_eof:
        _end_with_stdin(ending)
    await master.run()


def _listen_to_signals(ending: _Ending, reload: Callable[[], None]) -> None:
    # Where a terminal is closed, this is its goodbye; else, by an old custom, a wish to reload.
    on_hangup = ending.begin if sys.stdin and sys.stdin.isatty() else reload
    handlers = {"SIGINT": ending.begin, "SIGTERM": ending.begin, "SIGHUP": on_hangup}
    loop = asyncio.get_running_loop()
    for name, handler in handlers.items():
        if (number := getattr(signal, name, None)) is None:
            continue
        try:
            loop.add_signal_handler(number, handler)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_, call=handler: loop.call_soon_threadsafe(call))
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _end_with_stdin(ending: _Ending) -> None:
    """End when whoever started us closes our stdin, or dies."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        # Unbuffered: a thread that holds the lock of a buffer would spoil the interpreter's end.
        with contextlib.suppress(OSError), open(0, "rb", buffering=0, closefd=False) as stdin:
            while stdin.read(1024):
                pass
        with contextlib.suppress(RuntimeError):  # the loop is gone: we end already
            loop.call_soon_threadsafe(ending.begin)

    threading.Thread(target=read, name="aibridge stdin", daemon=True).start()
