"""Tells what to do about errors of PostgreSQL: `aibridge doctor` prints it."""

import re

from aibridge_addon.store.postgres.connection import LOCKED, READ_ONLY

_CURES = (
    (
        re.escape(LOCKED),
        "end the transaction that holds it: pg_blocking_pids() names it for each of aibridge's"
        " processes in pg_stat_activity",
    ),
    (
        re.escape(READ_ONLY),
        "name the primary server, or add ?target_session_attrs=read-write to the address",
    ),
    (r"statement timeout", "raise statement_timeout of the role"),
    (r"resolve host", "correct the host in the address"),
    (
        r"refused|timeout|timed out|starting up|shutting down",
        "start the server, or correct host and port in the address",
    ),
    (
        r"password authentication failed|no password supplied",
        "correct user and password in the address, or in the file ~/.pgpass",
    ),
    (r"role .* does not exist", "create the role, or correct the user in the address"),
    (r"database .* does not exist", "create the database, or correct its name in the address"),
    (r"pg_hba\.conf", "allow this machine, role and database in the server's pg_hba.conf"),
    (r"SSL|certificate", "correct sslmode and sslrootcert in the address, or the server's TLS"),
    (
        r"too many|connection slots",
        "raise max_connections, or the role's CONNECTION LIMIT: a process uses up to five",
    ),
    (
        r"permission denied",
        "grant the role CONNECT on the database, USAGE on the schema, and its rights on the tables",
    ),
)
_OTHERS = "check the address in aibridge_db, the server, and the rights of its role"


def cure_of(message: str) -> str:
    """Return what to do about an error, by its message: errors of connecting have no code."""
    return next((cure for pattern, cure in _CURES if re.search(pattern, message)), _OTHERS)
