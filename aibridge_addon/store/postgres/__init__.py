"""The store in PostgreSQL, for many processes. Needs the extra `postgres`.

`schema` derives the tables from those of the SQLite store. Reports, budgets and the roll-up run the
same SQL: `dialect` translates it, and `functions` defines the functions of SQLite that it calls.
"""
