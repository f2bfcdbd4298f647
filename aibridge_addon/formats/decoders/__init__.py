"""Decoders: server-sent events, AWS event-stream frames and content codings."""
