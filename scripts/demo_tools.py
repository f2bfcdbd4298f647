"""A small MCP server for the demonstration, made with the `mcp` package.

    python scripts/demo_tools.py stdio
    python scripts/demo_tools.py http

Over HTTP it first writes its URL to stdout.
"""

import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("demo", log_level="WARNING")


@server.tool()
def forecast(city: str) -> str:
    """Return today's weather in a city."""
    return f"{city}: 18 degrees, light rain in the evening"


@server.tool()
def exchange_rate(base: str, quote: str) -> str:
    """Return the value of one unit of a currency in another."""
    return f"1 {base} = 1.25 {quote}"


def main() -> None:
    """Serve until the end."""
    if sys.argv[1:] != ["http"]:
        server.run("stdio")
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
