"""Words of the full-text search, as FTS5 divides texts: letters and digits, without diacritics."""

from typing import Any

from aibridge_addon.store.connection import Connection

_COLLATIONS = (
    "SELECT quote_ident(collname) FROM pg_collation WHERE collname IN ('und-x-icu', 'C.utf8')"
    " ORDER BY collname DESC LIMIT 1"
)
"""Collations that know the letters of all scripts; C only knows those of ASCII."""
VECTOR = "to_tsvector('simple'::regconfig, aibridge_words(text))"
INDEX = (
    "CREATE INDEX IF NOT EXISTS idx_aibridge_search_texts_words ON aibridge_search_texts"
    f" USING gin ({VECTOR})"
)


def functions(connection: Connection) -> list[str]:
    """Return the statements that define the functions of the search."""
    found: Any = connection.execute(_COLLATIONS).fetchone()
    collation = f"COLLATE {found[0]}" if found else 'COLLATE "default"'
    return [
        r"""CREATE OR REPLACE FUNCTION aibridge_words(value text) RETURNS text LANGUAGE sql
        IMMUTABLE PARALLEL SAFE AS $$ SELECT regexp_replace(regexp_replace(
            normalize(lower(value """
        + collation
        + r"""), NFKD), '[\u0300-\u036f]', '', 'g'), '[^[:alnum:]]+' """
        + collation
        + r""", ' ', 'g') $$"""
    ]
