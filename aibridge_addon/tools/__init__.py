"""Central tools: connects to MCP servers, offers their tools to clients, and calls them."""
