"""Relays bytes through mitmproxy: layers, body tap, tunnels, upgrades, and upstream requests."""
