"""Central tools and the results of their calls, independent of wire format and MCP. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralTool:
    """A tool of an MCP server, as it is offered to models."""

    name: str
    """The injected name: `bmcp_<server>_<tool>`, legal for every API, unique."""
    server: str
    """The server's name in the configuration."""
    server_url: str
    """Address of the server: a URL, or `stdio:` and the command; without secrets."""
    original_name: str
    """Name of the tool on the server."""
    description: str
    input_schema: Mapping[str, Any]
    """Complete JSON schema, legal for every API."""
    original_names: Mapping[str, str] = field(default_factory=dict)
    """The server's property names by those of the schema, where they differ."""
    has_output_schema: bool = False
    """True if the server declares structured content."""

    def __hash__(self) -> int:
        return hash(self.name)  # a schema has no hash


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPart:
    """One part of a result."""

    kind: Literal["text", "image", "other"]
    text: str = ""
    """For `text`; for `other`, the text that replaces it, such as JSON."""
    data: str = ""
    """For `image`: base64."""
    media_type: str = ""
    """For `image`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """Result of a call: its parts in order, at least one; an error is described in parts too."""

    parts: tuple[ResultPart, ...]
    is_error: bool = False

    @property
    def size(self) -> int:
        """Size in bytes, of texts as UTF-8 and of images in base64."""
        return sum(len(part.text.encode(errors="replace")) + len(part.data) for part in self.parts)

    @property
    def as_text(self) -> str:
        """All parts as one text; an image as its description."""
        return "\n".join(
            f"[{part.media_type} image, {len(part.data)} characters of base64]"
            if part.kind == "image"
            else part.text
            for part in self.parts
        )


def error_result(message: str) -> ToolResult:
    """Return a result that reports an error to the model."""
    return ToolResult(parts=(ResultPart(kind="text", text=message),), is_error=True)
