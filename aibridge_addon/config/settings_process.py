"""Reads the settings in a child process, so that the parser of tables does not stay in memory.

pydantic and its models take 10 MiB, and a proxy needs them only to read its config file. The child
also packs the price data of the sellers, after its answer, so that nobody waits for it.
"""

import asyncio
import contextlib
import os
import pickle
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.settings import Settings, read_settings
from aibridge_addon.prices import price_data

_IN_THIS_PROCESS = ("mcp_servers", "guardrails")
"""Tables whose objects use pydantic themselves, or import the operator's modules."""


def read_settings_apart(options: Mapping[str, Any]) -> Settings:
    """Read the settings: in a child process if that saves memory and is safe.

    Raises:
        SettingsError: with all mistakes.
    """
    outcome = _read_in_child(options) if _can_fork() and _may_leave(options) else None
    if isinstance(outcome, SettingsError):
        raise outcome
    return outcome or read_settings(options)


def _can_fork() -> bool:
    """Return True if pydantic is not imported yet, and no other thread could hold a lock."""
    return (
        sys.platform == "linux"
        and "pydantic" not in sys.modules
        and len(os.listdir("/proc/self/task")) == 1
    )


def _may_leave(options: Mapping[str, Any]) -> bool:
    if options["aibridge_plugins"] or options["aibridge_mcp_config"]:
        return False
    if not (path := options["aibridge_config"]):
        return True
    try:
        written = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return not any(table in written for table in _IN_THIS_PROCESS)


def _read_in_child(options: Mapping[str, Any]) -> Settings | SettingsError | None:
    """Return the settings or their mistakes; None if the child failed."""
    reader, writer = os.pipe()
    prices = open(os.memfd_create("aibridge prices"), "r+b")  # noqa: SIM115 closed when it is read
    if (child := os.fork()) == 0:
        _answer(writer, prices, options)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    outcome: Settings | SettingsError | None = _unpickled(answer)
    if isinstance(outcome, Settings):
        price_data.expect(partial(_packed_prices, child, prices))
    else:
        prices.close()
    _reap_at_its_end(child)
    return outcome


def _reap_at_its_end(child: int) -> None:
    """Let the event loop wait for the child once it has ended, so that it stays no zombie.

    A thread that waits would be in the way of `_can_fork`. Without an event loop, this process is a
    command that ends soon.
    """
    try:
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(child)
    except (RuntimeError, OSError):
        return

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):  # a priced call has waited
            os.waitpid(child, 0)

    loop.add_reader(descriptor, reap)


def _packed_prices(child: int, prices: BinaryIO) -> price_data.Packed:
    """Wait for the end of the child; return the packed price data, none if it failed."""
    with contextlib.suppress(ChildProcessError):  # somebody else has waited
        os.waitpid(child, 0)
    with prices:
        prices.seek(0)
        return _unpickled(prices.read()) or {}


def _unpickled(data: bytes) -> Any:
    """Return what the child has written; None if it died before the end."""
    try:
        return pickle.loads(data)  # noqa: S301 from our own child
    except (EOFError, pickle.UnpicklingError):
        return None


def _answer(writer: int, prices: BinaryIO, options: Mapping[str, Any]) -> NoReturn:
    """Write the outcome, and end the child without any clean-up of its parent's objects."""
    status = 1
    try:
        outcome = _outcome(options)
        with open(writer, "wb") as pipe:
            pipe.write(pickle.dumps(outcome))
        if isinstance(outcome, Settings):
            pickle.dump(price_data.packed(_sellers(outcome)), prices)
            prices.flush()
        status = 0
    finally:
        os._exit(status)


def _sellers(settings: Settings) -> set[str]:
    return {seller.id for seller in settings.prices.sellers.values() if seller}


def _outcome(options: Mapping[str, Any]) -> Settings | SettingsError:
    try:
        return read_settings(options)
    except SettingsError as error:
        return error
