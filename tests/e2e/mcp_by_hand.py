"""An MCP server over HTTP, written by hand: lists any tools, and responds to calls with any fault.

For what no real server does; all else is asked of `tests/mcp_server.py`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from standin import EndEarly, Request, Reset, Response, Server, ServerThread

type JSON = dict[str, Any]
type Reply = Response | Reset | EndEarly

METHOD_NOT_FOUND = -32601


class ToolsByHand:
    """An ASGI application; `on_call` responds to calls, given the message."""

    def __init__(self, tools: Sequence[JSON] = ()) -> None:
        self.tools = list(tools)
        self.on_call: Callable[[JSON], Reply] = text_reply("done")
        self.url = ""

    async def __call__(self, request: Request) -> Reply:
        if request.method != "POST":
            return Response(405)
        message = json.loads(request.body)
        match message.get("method"):
            case "initialize":
                return reply_to(message, self._welcome(message["params"]))
            case "tools/list":
                return reply_to(message, {"tools": self.tools})
            case "tools/call":
                return self.on_call(message)
            case str(method) if method.startswith("notifications/"):
                return Response(202)
        error = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
        return _json({"jsonrpc": "2.0", "id": message.get("id"), "error": error})

    def _welcome(self, params: JSON) -> JSON:
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "by-hand", "version": "1"},
        }


@contextmanager
def serving(app: ToolsByHand) -> Iterator[ToolsByHand]:
    """Serve the application; yield its URL."""
    with ServerThread(Server(app, record=False)) as server:
        app.url = f"{server.origin}/mcp"
        yield app


def text_reply(text: str) -> Callable[[JSON], Reply]:
    """Return a response to calls: a text."""
    return lambda message: reply_to(message, {"content": [{"type": "text", "text": text}]})


def reply_to(message: JSON, result: JSON) -> Reply:
    """Return the response to a message."""
    return _json({"jsonrpc": "2.0", "id": message["id"], "result": result})


def _json(body: JSON) -> Response:
    return Response(200, [("content-type", "application/json")], json.dumps(body).encode())
