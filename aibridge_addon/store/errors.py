"""Errors of stores and recorders."""


class StoreError(Exception):
    """The store cannot be used; the message names its location and the reason."""


class NothingRecordedError(StoreError):
    """The store does not exist yet: the first record creates it."""


class RecorderError(StoreError):
    """The recorder cannot start with its configuration."""
