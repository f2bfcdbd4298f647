"""Defers the import of modules that mitmproxy imports at its start and a proxy rarely uses.

mitmproxy imports all of its addons, with a web framework, an LDAP client and parsers: 25 MiB. Here,
a listed module is loaded when one of its attributes is first used.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any

_ADDONS = (
    *("anticache", "anticomp", "blocklist", "browser", "command_history", "comment", "cut"),
    *("dns_resolver", "dumper", "export", "maplocal", "mapremote", "modifybody", "modifyheaders"),
    *("onboarding", "proxyauth", "readfile", "save", "savehar", "serverplayback"),
    *("stickyauth", "stickycookie", "strip_dns_https_records", "update_alt_svc", "upstream_auth"),
)
_DEFERRED = frozenset(
    {"mitmproxy.flowfilter", "mitmproxy.io", "pyparsing", "ruamel.yaml"}
    | {f"mitmproxy.addons.{name}" for name in _ADDONS}
)
_LEXER = "mitmproxy.command_lexer"


class _LexerLoader(Loader):
    """Defers the lexer of commands, whose `unquote` is imported by name."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._is_loaded = False

    def exec_module(self, module: ModuleType) -> None:
        """Add stand-ins that load the module."""

        def load(name: str) -> Any:
            if name.startswith("__"):  # the import system asks
                raise AttributeError(name)
            if not self._is_loaded:
                self._is_loaded = True
                del vars(module)["__getattr__"]
                self._loader.exec_module(module)
            return getattr(module, name)

        vars(module).update(__getattr__=load, unquote=lambda text: load("unquote")(text))


class _DeferringFinder:
    """Finds the listed modules, with a loader that waits for the first use."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _DEFERRED and name != _LEXER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = (_LexerLoader if name == _LEXER else LazyLoader)(spec.loader)
        return spec


def defer_imports() -> None:
    """Defer the listed modules that are not imported yet."""
    if not any(isinstance(finder, _DeferringFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _DeferringFinder())
