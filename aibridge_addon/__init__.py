"""aibridge_addon: a mitmproxy addon that records what AI clients send and spend.

This file is both the package and the script: ``mitmdump -s aibridge_addon/__init__.py``.
mitmproxy loads a script under a name of its own, so ``addons`` imports the package absolutely, and
only when asked: the core can be imported without mitmproxy.

The map, along the way of a request::

    addon.py         mitmproxy's hooks
    parts.py         what the hooks work with: made, renewed, ended
    settings.py      options and the config file -> one frozen Settings
    watching.py      files that are read again when they have changed
    routing.py       (host, path, method) -> Route
    identity.py      headers -> who, which program, which session, which credential
    tokens.py        gateway tokens: whose, until when, for what
    apis/            wire formats: bytes -> facts; central tools put in and taken out
    sse.py wire.py codings.py   events, JSON and content codings
    facts.py         what is recorded
    interception.py  one bridged request, from start to its one end
    proxy/           inside mitmproxy: who may pass, the body tap, what leaves and what is shown
    tools/           central MCP tools: connections, the inner loop, the ledger of hidden turns
    recorder/        facts -> SQLite, spooled when the database is away; the table of tokens
    observe/         facts -> metrics; health
    cli/             the command aibridge
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Make ``addons``, which mitmproxy looks for in a script, on first use."""
    if name != "addons":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if importlib.util.find_spec("aibridge_addon") is None:  # a checkout that is not installed
        sys.path.append(str(Path(__file__).parents[1]))
    from aibridge_addon.addon import AIBridge

    # mitmproxy asks a script for each hook of each flow: what is absent costs nothing from now on.
    del globals()["__getattr__"]
    return globals().setdefault("addons", [AIBridge()])
