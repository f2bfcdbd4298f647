"""Stores facts: the recorder protocol, SQLite, the spool, and the access-token table."""
