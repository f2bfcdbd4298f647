"""Sends what is recorded to other systems: traces by OpenTelemetry, and events by webhook.

Nothing of it runs on the forward path: facts go into a bounded queue, and what does not fit is
dropped and counted.
"""
