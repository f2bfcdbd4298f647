"""Relays bytes through mitmproxy: layers, body tap, tunnels, upgrades, upstream requests."""
