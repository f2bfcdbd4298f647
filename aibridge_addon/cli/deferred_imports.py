"""Defers the import of modules that are imported at the start and that a proxy rarely uses.

mitmproxy imports all of its addons, with a web framework, an LDAP client and parsers: 25 MiB. Here,
a listed module is loaded when one of its attributes is first used. Price data is loaded without
pydantic, which it needs to read new data only.
"""

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
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
    | {"httpx2", "sqlite_utils.recipes"}
    | {f"mitmproxy.addons.{name}" for name in _ADDONS}
)


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


class _PriceTypesLoader(Loader):
    """Loads the types of genai-prices; their annotations and schemas for pydantic stay empty."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with an import statement that replaces pydantic."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import_but_pydantic}
        self._loader.exec_module(module)


class _Unused:
    """Stand-in for pydantic: its attributes can be called, and return None."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def _import_but_pydantic(name: str, *context: Any) -> Any:
    if name == "pydantic" and name not in sys.modules:
        return _Unused()
    return builtins.__import__(name, *context)


_LOADERS: Mapping[str, Callable[[Loader], Loader]] = {
    **dict.fromkeys(_DEFERRED, LazyLoader),
    "mitmproxy.command_lexer": _LexerLoader,
    "genai_prices.types": _PriceTypesLoader,
}


class _DeferringFinder:
    """Finds the listed modules, with a loader that waits for the first use."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if (loader := _LOADERS.get(name)) is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = loader(spec.loader)
        return spec


def defer_imports() -> None:
    """Defer the listed modules that are not imported yet."""
    if not any(isinstance(finder, _DeferringFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _DeferringFinder())
