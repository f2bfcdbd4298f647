"""The catalogue of central tools: an immutable snapshot, sorted by injected name. Pure.

`servers` creates a new one when a server's tools change; a running request keeps its own. The same
listings, in any order, give an equal catalogue.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from aibridge_addon.formats.central_tool import CentralTool
from aibridge_addon.raw_json import encode
from aibridge_addon.tools.legal import LegalSchema, legal_schema
from aibridge_addon.tools.names import injected_names, is_offered
from aibridge_addon.tools.schema_roots import IllegalSchemaError


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTool:
    """A tool as its server lists it."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    has_output_schema: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The tools that one server lists, and the filters for them."""

    server: str
    server_url: str
    tools: tuple[ListedTool, ...] = ()
    allow: re.Pattern[str] | None = None
    deny: re.Pattern[str] | None = None

    def offered(self) -> dict[str, ListedTool]:
        """Return the selected tools by name; of duplicates the first, which a call reaches."""
        offered: dict[str, ListedTool] = {}
        for tool in self.tools:
            if is_offered(tool.name, self.allow, self.deny):
                offered.setdefault(tool.name, tool)
        return offered


class Catalogue:
    """The offered tools; iteration is in order of their names."""

    __slots__ = ("_by_name", "digest", "tools")

    tools: tuple[CentralTool, ...]
    digest: str
    """A digest of the definitions, which identifies the set of tools."""

    def __init__(self, listings: Iterable[Listing] = ()) -> None:
        found = {
            (listing.server, tool.name): (listing, tool, legal)
            for listing in listings
            for tool in listing.offered().values()
            if (legal := _legal(tool))
        }
        names = injected_names(found)
        tools = (_central_tool(names[key], *source) for key, source in found.items())
        self.tools = tuple(sorted(tools, key=lambda tool: tool.name))
        definitions = [(tool.name, tool.description, tool.input_schema) for tool in self.tools]
        self.digest = sha256(encode(definitions).encode()).hexdigest()
        self._by_name = MappingProxyType({tool.name: tool for tool in self.tools})

    def get(self, name: str) -> CentralTool | None:
        """Return the tool with an injected name."""
        return self._by_name.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[CentralTool]:
        return iter(self.tools)

    def __len__(self) -> int:
        return len(self.tools)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and self.tools == other.tools

    def __hash__(self) -> int:
        return hash(tuple(self._by_name))


def _legal(tool: ListedTool) -> LegalSchema | None:
    try:
        return legal_schema(tool.input_schema)
    except IllegalSchemaError:  # the reader of the listing has logged it
        return None


def _central_tool(name: str, listing: Listing, tool: ListedTool, legal: LegalSchema) -> CentralTool:
    return CentralTool(
        name=name,
        server=listing.server,
        server_url=listing.server_url,
        original_name=tool.name,
        description=tool.description,
        input_schema=legal.schema,
        original_names=legal.original_names,
        has_output_schema=tool.has_output_schema,
    )
