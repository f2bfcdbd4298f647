"""Functions of SQLite that shared SQL calls, and the triggers, in the schema of our tables.

Each statement can be executed again. Times are texts in UTC; `localtime` is the zone of the
session, and the session has the zone of the process.
"""

_JSON = (
    # Text that is no JSON, or has a character that PostgreSQL cannot store, has no members. What
    # handles exceptions cannot run in parallel.
    # `json_extract` accepts any text.
    """CREATE OR REPLACE FUNCTION json_valid(document text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT document IS NOT NULL $$""",
    """CREATE OR REPLACE FUNCTION json_extract(document text, path text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS $$
    DECLARE place text := rtrim(substr(path, 3), ']'); whole json; found json;
    BEGIN
        IF path LIKE '$.%' AND strpos(document, place) = 0 THEN RETURN NULL; END IF;
        BEGIN  -- handles exceptions, which takes longer than all the rest
            whole := document;
            found := CASE json_typeof(whole) WHEN 'array' THEN whole -> place::integer
                ELSE whole -> place END;
            RETURN CASE json_typeof(found)
                WHEN 'boolean' THEN CASE found #>> '{}' WHEN 'true' THEN '1' ELSE '0' END
                ELSE found #>> '{}' END;
        EXCEPTION WHEN data_exception THEN RETURN NULL; END;
    END $$""",
    """CREATE OR REPLACE FUNCTION json_each(document text)
    RETURNS TABLE (key text, value text) LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 20 AS $$
    SELECT (number - 1)::text, item #>> '{}' FROM json_array_elements(
        CASE json_typeof(document::json) WHEN 'array' THEN document::json END
    ) WITH ORDINALITY AS items (item, number)
    UNION ALL SELECT name, CASE json_typeof(item)
        WHEN 'boolean' THEN CASE item #>> '{}' WHEN 'true' THEN '1' ELSE '0' END
        ELSE item #>> '{}' END
    FROM json_each(CASE json_typeof(document::json) WHEN 'object' THEN document::json END)
        AS members (name, item) $$""",
    """CREATE OR REPLACE FUNCTION aibridge_as_json(items text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT array_to_json(items)::text $$""",
    """CREATE OR REPLACE AGGREGATE json_group_array(text) (
    SFUNC = array_append, STYPE = text[], INITCOND = '{}', FINALFUNC = aibridge_as_json)""",
)
_NUMBERS_AND_TEXT = (
    """CREATE OR REPLACE FUNCTION max(text, text) RETURNS text LANGUAGE sql
    IMMUTABLE PARALLEL SAFE AS $$ SELECT greatest($1 COLLATE "C", $2 COLLATE "C") $$""",
    """CREATE OR REPLACE FUNCTION min(bigint, bigint) RETURNS bigint LANGUAGE sql
    IMMUTABLE PARALLEL SAFE AS $$ SELECT least($1, $2) $$""",
    """CREATE OR REPLACE FUNCTION instr(text, text) RETURNS integer LANGUAGE sql
    IMMUTABLE PARALLEL SAFE AS $$ SELECT strpos($1, $2) $$""",
    r"""CREATE OR REPLACE FUNCTION glob(pattern text, value text) RETURNS boolean LANGUAGE sql
    IMMUTABLE PARALLEL SAFE AS $$ SELECT value LIKE
        replace(replace(replace(replace(replace(replace(pattern,
        '\', '\\'), '%', '\%'), '_', '\_'), '[[]', '['), '*', '%'), '?', '_') $$""",
    """CREATE OR REPLACE FUNCTION aibridge_models_item(model text, requests numeric) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lpad(requests::text, 20, '0') || coalesce(nullif(model, ''), 'unknown') $$""",
    """CREATE OR REPLACE FUNCTION aibridge_most_models(models text[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(json_agg(model ORDER BY requests DESC, model COLLATE "C")::text, '[]') FROM (
        SELECT substr(item, 21) AS model, sum(substr(item, 1, 20)::numeric) AS requests
        FROM unnest(models) AS item GROUP BY 1
        ORDER BY 2 DESC, substr(item, 21) COLLATE "C" LIMIT 20
    ) most $$""",
)
_TIMES = (
    """CREATE OR REPLACE FUNCTION aibridge_instant(moment text) RETURNS timestamptz LANGUAGE sql
    STABLE PARALLEL SAFE AS $$ SELECT (substr(moment, 1, 26) || '+00')::timestamptz $$""",
    """CREATE OR REPLACE FUNCTION strftime(format text, moment text, zone text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT to_char(aibridge_instant(moment),
        CASE format WHEN '%Y-%m' THEN 'YYYY-MM' ELSE 'YYYY-MM-DD HH24:00' END) $$""",
    """CREATE OR REPLACE FUNCTION date(moment text, zone text) RETURNS text LANGUAGE sql
    STABLE PARALLEL SAFE AS $$ SELECT to_char(aibridge_instant(moment), 'YYYY-MM-DD') $$""",
    """CREATE OR REPLACE FUNCTION date(moment text, zone text, weekday text, days text)
    RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(date_trunc('week', aibridge_instant(moment)), 'YYYY-MM-DD') $$""",
    """CREATE OR REPLACE FUNCTION julianday(moment text) RETURNS double precision LANGUAGE sql
    STABLE PARALLEL SAFE AS $$
    SELECT extract(epoch FROM aibridge_instant(moment))::double precision / 86400 $$""",
)
FUNCTIONS = (*_JSON, *_NUMBERS_AND_TEXT, *_TIMES)
