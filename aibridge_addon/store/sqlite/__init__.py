"""The built-in store: a SQLite database, and a spool for times when it is unavailable."""
