"""Alias of `store.recorder`, for recorders written for version 0.1."""

from aibridge_addon.store.recorder import Recorder, RecorderError

__all__ = ["Recorder", "RecorderError"]
