"""An option of the addon: its declaration for mitmproxy, and its field of `Settings`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.option_values import ReadValue, unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of the addon, as mitmproxy declares it, and its field of `Settings`."""

    name: str
    default: Any
    """Its default, or a function that returns it: of a value that the environment determines."""
    help: str
    choices: Sequence[str] | None = None
    fixed: bool = False
    """True if it is read once, at the start."""
    watched: bool = False
    """True if it names a file that is read again when the file changes."""
    setting: str | None = None
    """The field of `Settings`; None if the option names a file."""
    read: ReadValue = unchanged
    """Converts a value to that field; raises `ValueError` with what is wrong and what is right."""
    old_spellings: Mapping[str, str] = field(default_factory=dict)
    """Values of earlier versions, in lower case, and what they are called now."""

    @property
    def declaration(self) -> tuple[str, type, Any, str, Sequence[str] | None]:
        """The arguments that declare it to mitmproxy."""
        return self.name, self.type, self.default_value, self.help, self.choices

    @property
    def default_value(self) -> Any:
        """The value that it has unless it is set."""
        return self.default() if callable(self.default) else self.default

    @property
    def type(self) -> type:
        """The Python type of its values."""
        return type(self.default_value)

    def respelled(self, value: Any) -> Any:
        """Return a value as it is spelled now: values of earlier versions are still accepted."""
        return self.old_spellings.get(str(value).lower(), value)

    def read_setting(self, value: Any) -> Any:
        """Return the value of the field of `Settings`.

        Raises:
            SettingsError: the value is wrong.
        """
        value = self.respelled(value)
        # mitmproxy shows the choices of an option, but accepts other values.
        if self.choices and value not in self.choices:
            choices = ", ".join(self.choices)
            raise SettingsError(f"{self.name} is {value!r}; it must be one of {choices}")
        try:
            return self.read(value)
        except ValueError as error:
            raise SettingsError(f"{self.name} {error}") from error
