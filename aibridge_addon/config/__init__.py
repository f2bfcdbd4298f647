"""Configuration: options, the TOML file, the `mcpServers` file, and watching both for changes."""
