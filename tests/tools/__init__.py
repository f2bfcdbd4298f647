"""Tests of central MCP tools: names, configuration, catalogue, connections."""
