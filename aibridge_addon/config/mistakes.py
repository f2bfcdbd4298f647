"""Errors of options and config files."""


class SettingsError(ValueError):
    """Options or config file are wrong; the message has a line for each mistake."""
