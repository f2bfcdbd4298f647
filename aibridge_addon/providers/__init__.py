"""Providers and clients: routes, provider instances, and who sends a request."""
