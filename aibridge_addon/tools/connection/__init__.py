"""Connections to MCP servers: `connection` is one of them; the others are what it stands on."""
