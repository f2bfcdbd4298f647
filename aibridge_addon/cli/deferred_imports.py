"""Defers the import of modules that are imported at the start and that a proxy rarely uses.

mitmproxy imports all of its addons, with a web framework, an LDAP client and parsers: 25 MiB. Here,
a listed module is loaded when one of its attributes is first used. Price data is loaded without
pydantic, which it needs to read new data only.
"""

import builtins
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
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
    | {"httpx2", "requests", "sqlite_utils.recipes"}
    | {f"mitmproxy.addons.{name}" for name in _ADDONS}
)


class _DeferringLoader(Loader):
    """Executes a module when an attribute of it is first used.

    Unlike `importlib.util.LazyLoader`, a second import of the module does not use it, and functions
    that others import by name can have stand-ins.
    """

    def __init__(self, loader: Loader, functions: Sequence[str] = ()) -> None:
        self._loader = loader
        self._functions = functions
        self._lock = threading.RLock()
        self._is_executed = False

    def exec_module(self, module: ModuleType) -> None:
        """Add the stand-ins."""
        members = vars(module)

        def find(name: str) -> Any:
            if name.startswith("__"):  # the import system asks for these
                raise AttributeError(name)
            with self._lock:
                self._execute(module)
            if name in members or members.get("__getattr__", find) is not find:
                return getattr(module, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        members["__getattr__"] = find
        members.update({name: _stand_in(name, find) for name in self._functions})

    def _execute(self, module: ModuleType) -> None:
        if not self._is_executed:
            self._is_executed = True
            self._loader.exec_module(module)


def _stand_in(name: str, find: Callable[[str], Any]) -> Callable[..., Any]:
    return lambda *arguments: find(name)(*arguments)


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
    **dict.fromkeys(_DEFERRED, _DeferringLoader),
    "mitmproxy.command_lexer": partial(_DeferringLoader, functions=("unquote",)),
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
