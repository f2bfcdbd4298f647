"""Alerts: events that the operator should know, sent to webhooks.

`event` and `webhook` are values; `provider_watch` detects; `sender` sends; `alerts` connects them.
"""
