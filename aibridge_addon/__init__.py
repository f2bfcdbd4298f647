"""aibridge_addon: a mitmproxy addon that records what AI clients send and spend.

This file is both the package and the script: ``mitmdump -s aibridge_addon/__init__.py``.
mitmproxy loads a script under a name of its own, so ``addons`` imports the package absolutely, and
only when asked: the core can be imported without mitmproxy.

The packages, along the way of a request::

    addon.py         mitmproxy's hooks
    assembly.py      composition root: builds the components from the settings
    config/          options, the TOML file, file watching -> one frozen Settings
    providers/       (host, path, method) -> Route; headers -> actor, client, session, credential
    access/          admission, access tokens, policies, egress
    formats/         wire formats: bytes -> facts; central tools put in and taken out
    facts.py         the facts that are recorded
    interception.py  one bridged request, from its start to its one end
    relay/           inside mitmproxy: layers, body tap, tunnels, upstream requests
    exchange/        the live state of one client request
    tools/           central MCP tools: connections, inner loop, ledger of hidden turns
    store/           the Store protocol; SQLite with a spool; the protocol of third-party recorders
    observe/         facts -> metrics; health
    cli/             the aibridge command
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

__version__ = "0.2.0"


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
