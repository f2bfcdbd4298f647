"""Errors of PostgreSQL, by what a writer does about them."""

import re

import psycopg
from psycopg import errors

from aibridge_addon.store.errors import StoreError

UNAVAILABLE: tuple[type[Exception], ...] = (psycopg.Error, StoreError, OSError)
"""The database cannot be used now; `REJECTIONS` come first."""
REJECTIONS: tuple[type[Exception], ...] = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    errors.DatatypeMismatch,
    OverflowError,
    UnicodeError,
)
"""Caused by a statement itself."""
COLLISIONS = (errors.DeadlockDetected, errors.SerializationFailure)
"""Another process was faster: the transaction is executed again."""
_PERMANENT = re.compile(
    "password authentication failed|no password supplied|does not exist|no pg_hba.conf entry"
    "|is not permitted to log in|permission denied|certificate|SSL is not enabled"
    "|does not support SSL"
)
"""Parts of messages about connections, which have no error code."""
_PERMANENT_TYPES = (StoreError, psycopg.ProgrammingError, psycopg.NotSupportedError)


def is_permanent(error: Exception) -> bool:
    """Return True if an error at the start is a mistake in the settings."""
    if isinstance(error, _PERMANENT_TYPES):
        return True
    is_of_connecting = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return is_of_connecting and _PERMANENT.search(str(error)) is not None
