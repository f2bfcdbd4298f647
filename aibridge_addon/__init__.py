"""aibridge_addon: a mitmproxy addon that records what AI clients send and spend.

This file is both the package and the script: ``mitmdump -s aibridge_addon/__init__.py``.
mitmproxy loads a script under a name of its own, so ``addons`` imports the package absolutely, and
only when asked: the core can be imported without mitmproxy.

The map of the packages is in ``docs/internals/architecture.md``.
"""

import importlib.util
import logging
import sys
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

_FOLDER = Path(__file__).resolve().parents[1]
_LACKING = (
    "aibridge: the Python environment of this mitmproxy lacks %s. Install the addon there, as by"
    " `%s -m pip install %s`, or use the mitmdump of an environment that has it. Standalone"
    " binaries of mitmproxy cannot load it."
)


def __getattr__(name: str) -> Any:
    """Make ``addons``, which mitmproxy looks for in a script, on first use."""
    if name != "addons":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if importlib.util.find_spec("aibridge_addon") is None:  # a checkout that is not installed
        sys.path.append(str(_FOLDER))
    made = _make_addons()
    # mitmproxy asks a script for each hook of each flow: what is absent costs nothing from now on.
    del globals()["__getattr__"]
    return globals().setdefault("addons", made)


def _make_addons() -> list[Any]:
    try:
        from aibridge_addon.addon import AIBridge
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aibridge_addon"):
            raise
        logging.getLogger(__name__).error(_LACKING, error.name, sys.executable, _FOLDER)
        return []  # mitmproxy ends itself over the logged error
    return [AIBridge()]
