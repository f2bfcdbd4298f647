"""Errors of stores and recorders."""


class StoreError(Exception):
    """The store cannot be used; the message names its location and the reason."""


class RecorderError(StoreError):
    """The recorder cannot start with its configuration."""
