"""Observability: metrics from facts, health, and the announcement of a running proxy."""
