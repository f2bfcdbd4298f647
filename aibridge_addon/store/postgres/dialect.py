"""Translates shared SQL, which is written for SQLite, into the SQL of PostgreSQL.

What needs no more than other words is here; `functions` has the functions of SQLite.
"""

import re
from functools import lru_cache

_LITERALS = re.compile(r"('(?:[^']|'')*')")
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # The order of a join, and an index that is not to be used: hints for SQLite's planner.
        (r"CROSS JOIN (\S+ \w+)(?=\s+ON\b)", r"JOIN \1"),
        (r"\+i\.rowid", "i.id"),
        (r"(?<=[\s(])\+(?=[a-z]\.)", ""),
        (r"\bIS NOT (?!NULL\b|DISTINCT\b)", "IS DISTINCT FROM "),
        (r"\bIS (?!NOT\b|NULL\b|DISTINCT\b)", "IS NOT DISTINCT FROM "),
        # An aggregate function of ours would copy all that it has at each row.
        (
            r"\btop_models\((\w+), (\w+)\) (FILTER \([^)]*\))",
            r"aibridge_most_models(array_agg(aibridge_models_item(\1, \2)) \3)",
        ),
        (r"^BEGIN IMMEDIATE$", "BEGIN"),
        (r"(?<![:\w]):([a-z_]\w*)", r"%(\1)s"),
        (r"\?", "%s"),
    )
)


@lru_cache(maxsize=512)
def translate(sql: str) -> str:
    """Return a statement with its parameters as psycopg reads them."""
    # Every second piece is a literal.
    pieces = _LITERALS.split(sql.replace("%", "%%"))
    pieces[::2] = map(_translate_words, pieces[::2])
    return "".join(pieces)


def _translate_words(sql: str) -> str:
    for pattern, replacement in _RULES:
        sql = pattern.sub(replacement, sql)
    return sql
