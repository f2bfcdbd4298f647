"""Values of reports as JSON values. Stored content is decoded."""

import dataclasses
import json
from typing import Any

from aibridge_addon.report.figures import TOKENS, Figures
from aibridge_addon.report.rows import InterceptionDetail, StoredMessage


def as_json(value: Any) -> Any:
    """Return a value of `report` as a JSON value: unknown amounts and times are null."""
    match value:
        case StoredMessage():
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return fields | {"content": _content(value.content)}
        case Figures():
            fields = {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return fields | {name: value.known(fields[name]) for name in TOKENS}
        case InterceptionDetail():
            fields = {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return fields.pop("row") | fields
        case tuple() | list():
            return [as_json(element) for element in value]
        case dict():
            return {str(name): as_json(element) for name, element in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def _content(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")
