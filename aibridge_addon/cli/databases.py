"""Opens the store that a command reads or writes, after importing the plugins that it needs."""

from aibridge_addon.cli import running
from aibridge_addon.cli.plugins import import_plugins_for
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.record_options import DATABASE_NAME
from aibridge_addon.observe.announcement import RunningProxy, data_folder
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.protocol import Store


def open_records(location: str | None) -> Store:
    """Open the store with the records: at a location, else the running proxy's, else the default.

    Raises:
        StoreError: its plugin cannot be imported, or registers no such scheme.
    """
    proxy = running.find()
    return _open(location or (proxy and proxy.database) or _default(), proxy)


def open_tokens(location: str | None) -> Store:
    """Open the store with the access tokens, likewise.

    Raises:
        StoreError: its plugin cannot be imported, or registers no such scheme.
    """
    proxy = running.find()
    return _open(location or (proxy and proxy.tokens_in) or _default(), proxy)


def open_records_of(proxy: RunningProxy) -> Store:
    """Open the store in which a proxy records.

    Raises:
        StoreError: its plugin cannot be imported.
    """
    return _open(proxy.database, proxy)


def open_tokens_of(proxy: RunningProxy) -> Store:
    """Open the store in which a proxy reads access tokens.

    Raises:
        StoreError: its plugin cannot be imported.
    """
    return _open(proxy.tokens_in, proxy)


def requires_token(proxy: RunningProxy) -> bool:
    """Return True if clients need an access token now, as far as this user can read that."""
    if proxy.token_rule == "auto" and proxy.tokens_in:  # noqa: S105 a rule
        try:
            return bool(open_tokens_of(proxy).access_tokens())
        except StoreError:
            return False
    return proxy.token_rule == "always"  # noqa: S105 a rule


def _default() -> str:
    return str(data_folder() / DATABASE_NAME)


def _open(location: str, proxy: RunningProxy | None) -> Store:
    if "://" in location:  # paths need no plugin
        try:
            import_plugins_for(proxy)
        except SettingsError as error:
            raise StoreError(str(error)) from error
    return open_store(location)
