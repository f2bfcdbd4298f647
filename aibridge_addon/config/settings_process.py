"""Reads the settings in a child process, so that the parser of tables does not stay in memory.

pydantic and its models take 10 MiB, and a proxy needs them only to read its config file.
"""

import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.settings import Settings, read_settings

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
    if (child := os.fork()) == 0:
        _answer(writer, options)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    outcome: Settings | SettingsError | None = None
    if status == 0:
        outcome = pickle.loads(answer)  # noqa: S301 from our own child
    return outcome


def _answer(writer: int, options: Mapping[str, Any]) -> NoReturn:
    """Write the outcome, and end the child without any clean-up of its parent's objects."""
    status = 1
    try:
        with open(writer, "wb") as pipe:
            pickle.dump(_outcome(options), pipe)
        status = 0
    finally:
        os._exit(status)


def _outcome(options: Mapping[str, Any]) -> Settings | SettingsError:
    try:
        return read_settings(options)
    except SettingsError as error:
        return error
