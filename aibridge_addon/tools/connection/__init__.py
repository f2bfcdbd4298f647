"""Connections to MCP servers: `connection` holds one; the other modules are its transports."""
