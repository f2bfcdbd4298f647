"""A request as a command line of curl. Keys are variables of the shell, never values."""

import json
import shlex
from typing import Any

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.view import View
from aibridge_addon.report.rows import InterceptionDetail, StoredMessage
from aibridge_addon.web.curl_targets import target_of


def curl_command(detail: InterceptionDetail) -> str:
    """Return the command; empty if the content of the request was not recorded."""
    found, target = FORMATS.get(detail.row.api), target_of(detail.row)
    view = found.view if found else None
    parts = [part for part in detail.messages if part.upstream == 0 and part.kind != "response"]
    if view is None or target is None or not parts:
        return ""
    url, *headers = target
    lines = [f"curl {url}", *(f"  -H {header}" for header in headers)]
    lines += ["  -H 'content-type: application/json'", f"  -d {shlex.quote(_body(view, parts))}"]
    return " \\\n".join(lines)


def _body(view: View, parts: list[StoredMessage]) -> str:
    """Join the stored parts into a body with the same content."""
    body: dict[str, Any] = {}
    by_kind: dict[str, list[Any]] = {"system": [], "message": []}
    for part in parts:
        value = _read(part)
        if part.kind == "parameters" and isinstance(value, dict):
            body |= value
        elif part.kind == "tools":
            body["tools"] = value
        elif part.kind in by_kind:
            by_kind[part.kind].append(value)
    system, messages = by_kind["system"], by_kind["message"]
    if view.system_member is None:
        messages = system + messages
    elif system:
        body[view.system_member] = system[0] if len(system) == 1 else system
    body[view.history_member] = messages
    return json.dumps(body, indent=1, ensure_ascii=False)


def _read(part: StoredMessage) -> Any:
    try:
        return json.loads(part.content)
    except (ValueError, RecursionError):
        return part.content.decode("utf-8", "replace")
