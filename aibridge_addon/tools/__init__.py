"""Central MCP tools: found, named, filtered, offered to every client, and called for it."""
