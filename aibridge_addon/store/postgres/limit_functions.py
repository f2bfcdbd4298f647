"""Functions that count shared limits: one call per decision, exact over all processes.

Rates are counted by the generic cell rate algorithm: `full_at` is the instant at which a bucket is
full again. Times are those of the database; `at` replaces them in tests. An advisory lock for each
limit and scope, taken in order, precedes every look, so that a decision sees all earlier ones. A
bucket that was seen at a later time than now is moved back with the clock. Debts end at three years
(1e17), so that sums stay within the type of the column.
"""

_MOMENT = """CREATE OR REPLACE FUNCTION aibridge_moment(at bigint) RETURNS bigint LANGUAGE sql
    VOLATILE AS $$
    SELECT coalesce(at, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint) $$"""
_LOCK = """CREATE OR REPLACE FUNCTION aibridge_lock_limits(scopes json) RETURNS void
    LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(s.limit_name || '/' || s.scope, 8) AS key
        FROM json_to_recordset(scopes) AS s (limit_name text, scope text) ORDER BY 1
    ) ordered; END $$"""
_DEBT = """CREATE OR REPLACE FUNCTION aibridge_limit_debt(
    full_at bigint, seen_at bigint, moment bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(full_at - greatest(seen_at, moment), 0) $$"""
_COUNT = """CREATE OR REPLACE FUNCTION aibridge_count_limits(
    changes json, request text, process text, lease bigint, is_checked boolean, at bigint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE moment bigint; lack text;
BEGIN
    PERFORM aibridge_lock_limits(changes);
    moment := aibridge_moment(at);
    IF is_checked THEN
        SELECT json_build_array(c.number, NULL)::text INTO lack
        FROM json_to_recordset(changes)
            AS c (number int, limit_name text, scope text, bound text, most bigint)
        WHERE c.bound = 'open_requests' AND c.most <= (
            SELECT count(*) FROM aibridge_limit_slots s
            WHERE s.limit_name = c.limit_name AND s.scope = c.scope
            AND s.expires_at > moment AND s.expires_at <= moment + 2 * lease)
        ORDER BY c.number LIMIT 1;
        IF lack IS NOT NULL THEN RETURN lack; END IF;
        SELECT json_build_array(number, wait / 1e9)::text INTO lack FROM (
            SELECT c.number, (least(c.amount, c.most) / c.most - 1) * 6e10
                + coalesce(aibridge_limit_debt(b.full_at, b.seen_at, moment), 0) AS wait
            FROM json_to_recordset(changes) AS c (number int, limit_name text, scope text,
                bound text, most double precision, amount double precision)
            LEFT JOIN aibridge_limit_buckets b USING (limit_name, scope, bound)
            WHERE c.bound <> 'open_requests'
        ) waits WHERE wait >= 1000 ORDER BY number LIMIT 1;
        IF lack IS NOT NULL THEN RETURN lack; END IF;
    END IF;
    INSERT INTO aibridge_limit_buckets AS b (limit_name, scope, bound, full_at, seen_at)
    SELECT c.limit_name, c.scope, c.bound,
        moment + least(c.amount / c.most * 6e10, 1e17)::bigint, moment
    FROM json_to_recordset(changes) AS c (limit_name text, scope text,
        bound text, most double precision, amount double precision)
    WHERE c.bound <> 'open_requests'
    ON CONFLICT (limit_name, scope, bound) DO UPDATE SET seen_at = moment,
        full_at = excluded.full_at + aibridge_limit_debt(b.full_at, b.seen_at, moment);
    INSERT INTO aibridge_limit_slots (limit_name, scope, request_id, process_id, expires_at)
    SELECT c.limit_name, c.scope, request, process, moment + lease FROM json_to_recordset(changes)
        AS c (limit_name text, scope text, bound text, amount double precision)
    WHERE c.bound = 'open_requests' AND c.amount > 0 ON CONFLICT DO NOTHING;
    DELETE FROM aibridge_limit_slots s USING json_to_recordset(changes)
        AS c (limit_name text, scope text, bound text, amount double precision)
    WHERE c.bound = 'open_requests' AND c.amount < 0
        AND s.limit_name = c.limit_name AND s.scope = c.scope AND s.request_id = request;
    RETURN NULL;
END $$"""
_RENEW = """CREATE OR REPLACE FUNCTION aibridge_renew_limits(
    slots json, process text, lease bigint, at bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE moment bigint; old bigint;
BEGIN
    PERFORM aibridge_lock_limits(slots);
    moment := aibridge_moment(at);
    old := moment - 60 * lease;
    DELETE FROM aibridge_limit_slots s WHERE s.process_id = process AND NOT EXISTS (
        SELECT FROM json_to_recordset(slots) AS r (limit_name text, scope text, request_id text)
        WHERE r.limit_name = s.limit_name AND r.scope = s.scope AND r.request_id = s.request_id);
    INSERT INTO aibridge_limit_slots (limit_name, scope, request_id, process_id, expires_at)
    SELECT r.limit_name, r.scope, r.request_id, process, moment + lease
    FROM json_to_recordset(slots) AS r (limit_name text, scope text, request_id text)
    ON CONFLICT (limit_name, scope, request_id) DO UPDATE SET expires_at = excluded.expires_at;
    -- Rows that another process uses at the moment wait for a later renewal.
    DELETE FROM aibridge_limit_slots WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM aibridge_limit_slots WHERE expires_at < old FOR UPDATE SKIP LOCKED));
    DELETE FROM aibridge_limit_buckets WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM aibridge_limit_buckets WHERE full_at < old FOR UPDATE SKIP LOCKED));
END $$"""
LIMITS = (_MOMENT, _LOCK, _DEBT, _COUNT, _RENEW)
