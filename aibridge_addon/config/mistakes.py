"""Mistakes in options and config files: all are collected before any is reported."""

from collections.abc import Callable, Iterable


class SettingsError(ValueError):
    """Options or config files are wrong; the message has a line for each mistake."""


class Mistakes:
    """Collects mistakes, so that one reading reports all of them."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines = list(lines)

    def checked[T, **P](
        self, default: T, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of a check; note its mistakes and return the default if it fails."""
        try:
            return check(*args, **kwargs)
        except SettingsError as error:
            self.add(error)
            return default

    def add(self, error: SettingsError) -> None:
        """Note the mistakes of an error."""
        self._lines.append(str(error))

    def raise_all(self) -> None:
        """Raise all mistakes, if there are any.

        Raises:
            SettingsError: with a line for each mistake.
        """
        if self._lines:
            raise SettingsError("\n".join(self._lines))


def listed(option: str, path: str, mistakes: Iterable[str]) -> str:
    """Return the mistakes of a file, each with the option that names the file and its path."""
    return "\n".join(f"{option} {path}: {mistake}" for mistake in mistakes)
