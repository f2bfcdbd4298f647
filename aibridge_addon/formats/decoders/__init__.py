"""Decoders: server-sent events and content codings."""
