"""SQL that every engine runs: reports, roll-up, budgets, retention and repricing.

It is written for SQLite, as far as PostgreSQL can follow: see `store.connection`. It imports no
engine.
"""
