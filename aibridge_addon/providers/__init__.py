"""Providers and clients: provider types, routing, credentials, and identification of clients."""
