"""SQL of budgets: holds, charges, counters, slices and leases."""

_COUNTED = """
WHERE budget = :budget AND scope = :scope AND epoch = :epoch AND unit = :unit AND bucket >= :first
"""
STANDING = f"""
SELECT (SELECT coalesce(sum(spent), 0) FROM aibridge_budget_counters {_COUNTED}),
       coalesce(sum(held), 0),
       coalesce(sum(CASE WHEN owner = :owner THEN held ELSE 0 END), 0),
       coalesce(sum(CASE WHEN owned > held THEN owned - held ELSE 0 END), 0)
FROM (SELECT owner, sum(held) AS held, sum(owned) AS owned FROM (
          SELECT owner, amount AS held, 0 AS owned FROM aibridge_budget_holds {_COUNTED}
          UNION ALL SELECT owner, 0, amount FROM aibridge_budget_slices {_COUNTED}) amounts
      GROUP BY owner) owners
"""  # noqa: S608
VALID_SLICES = "SELECT count(*) FROM aibridge_budget_slices WHERE owner = ? AND ({slices})"
VALID_SLICE = "budget = ? AND scope = ? AND amount = ?"
TAKE_SLICE = """
INSERT INTO aibridge_budget_slices
    (budget, scope, owner, epoch, unit, bucket, amount, promised_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
PROMISE_SLICES = """
UPDATE aibridge_budget_slices SET promised_until = ? WHERE owner = ? AND wanted = 0
RETURNING budget, scope, amount
"""
_FREE = "NOT (promised_until > ? AND promised_until <= ?)"
"""Condition of slices that are not promised to their owner: not before a moment, by the clock that
the processes of a machine share, nor after the longest promise, which is from before its start."""
CHARGE_SLICE = """
UPDATE aibridge_budget_slices SET amount = amount - ? WHERE budget = ? AND scope = ? AND owner = ?
"""
DROP_SLICE = "DELETE FROM aibridge_budget_slices WHERE budget = ? AND scope = ? AND owner = ?"
DROP_SLICES = f"""
DELETE FROM aibridge_budget_slices WHERE budget = ? AND scope = ? AND (owner = ? OR {_FREE})
"""  # noqa: S608
CHARGE_SLICE_OF_OTHER = CHARGE_SLICE + " AND epoch = ? AND bucket = ?"
WANT_SLICES = "UPDATE aibridge_budget_slices SET wanted = 1 WHERE budget = ? AND scope = ?"
DROP_ALL_SLICES = f"DELETE FROM aibridge_budget_slices WHERE {_FREE}"  # noqa: S608
WANT_ALL_SLICES = "UPDATE aibridge_budget_slices SET wanted = 1"
LOST_SLICES = f"""
DELETE FROM aibridge_budget_slices WHERE owner NOT IN
    (SELECT owner FROM aibridge_budget_leases WHERE expires_at >= ?) AND {_FREE}
"""  # noqa: S608
OTHER_LEASES = "SELECT count(*) FROM aibridge_budget_leases WHERE owner <> ? AND expires_at >= ?"
EPOCH = "SELECT count(*) FROM aibridge_budget_resets WHERE budget = ? AND scope IN (?, '*')"
HOLDS = """
INSERT INTO aibridge_budget_holds
    (id, interception_id, budget, scope, epoch, unit, bucket, amount, likely, input, owner,
     created_at)
VALUES {rows} ON CONFLICT DO NOTHING
"""
RELEASE = (
    "DELETE FROM aibridge_budget_holds WHERE id = ?"
    " RETURNING budget, scope, epoch, unit, bucket, owner, amount"
)
OLDEST_BUCKET = (
    "SELECT min(bucket) FROM aibridge_budget_counters"
    " WHERE budget = ? AND scope = ? AND epoch = ? AND unit = ? AND bucket >= ? AND spent > 0"
)
RENEW = (
    "INSERT INTO aibridge_budget_leases (owner, expires_at) VALUES (?, ?)"
    " ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at"
)
ORPHANS = """
SELECT DISTINCT interception_id FROM aibridge_budget_holds h
WHERE NOT EXISTS (SELECT 1 FROM aibridge_budget_leases l
                  WHERE l.owner = h.owner AND l.expires_at >= ?)
   OR EXISTS (SELECT 1 FROM aibridge_interceptions i
              WHERE i.id = h.interception_id AND i.ended_at IS NOT NULL)
"""
CHARGED = """
SELECT budget, scope, unit, sum(charge) FROM aibridge_budget_entries WHERE interception_id = ?
GROUP BY budget, scope, unit
"""
REMOVE_HOLDS = """
DELETE FROM aibridge_budget_holds WHERE interception_id = ?
RETURNING id, budget, scope, epoch, unit, bucket, owner, amount, likely, input
"""
ARE_COUNTED = """
SELECT EXISTS (SELECT 1 FROM aibridge_budget_holds)
    OR EXISTS (SELECT 1 FROM aibridge_budget_entries)
"""
SPENT = (
    "SELECT coalesce(sum(spent), 0) FROM aibridge_budget_counters"
    " WHERE budget = ? AND scope = ? AND epoch = ? AND unit = ? AND bucket >= ?"
)
WARNING = (
    "INSERT INTO aibridge_budget_warnings (budget, scope, epoch, bucket, percent)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
NEAR_LIMIT = """
SELECT scope, epoch, sum(spent) FROM aibridge_budget_counters c
WHERE budget = ? AND unit = ? AND bucket >= ?
  AND epoch = (SELECT count(*) FROM aibridge_budget_resets r
               WHERE r.budget = c.budget AND r.scope IN (c.scope, '*'))
GROUP BY scope, epoch HAVING sum(spent) >= ?
"""
MISSED_WARNING = """
INSERT INTO aibridge_budget_warnings (budget, scope, epoch, bucket, percent)
SELECT :budget, :scope, :epoch, :bucket, :percent
WHERE NOT EXISTS (SELECT 1 FROM aibridge_budget_warnings
                  WHERE budget = :budget AND scope = :scope AND epoch = :epoch
                    AND percent = :percent AND bucket >= :first)
ON CONFLICT DO NOTHING
"""
OUTCOME = """
SELECT coalesce(i.status, 'interrupted'), i.http_status, count(u.id),
       count(CASE WHEN u.cost_nano_usd IS NULL THEN u.id END),
       coalesce(sum(u.cost_nano_usd), 0),
       coalesce(sum(coalesce(u.input_tokens, 0) + coalesce(u.cache_write_input_tokens, 0)
                    + coalesce(u.output_tokens, 0)), 0),
       count(CASE WHEN (u.input_tokens IS NOT NULL OR u.output_tokens IS NOT NULL)
                   AND (u.input_tokens IS NULL OR u.output_tokens IS NULL
                        OR u.cache_write_input_tokens IS NULL) THEN u.id END),
       count(CASE WHEN u.input_tokens IS NULL AND u.output_tokens IS NULL THEN u.id END),
       (SELECT count(*) FROM aibridge_budget_entries e WHERE e.interception_id = x.id)
FROM (SELECT :id AS id) x LEFT JOIN aibridge_interceptions i ON i.id = x.id
LEFT JOIN aibridge_token_usages u ON u.interception_id = x.id
GROUP BY x.id, i.status, i.http_status
"""
ENTRIES = """
INSERT INTO aibridge_budget_entries
    (id, interception_id, budget, scope, epoch, unit, bucket, charge, how, created_at)
VALUES {rows} ON CONFLICT DO NOTHING
"""
ENTRY = ENTRIES.format(rows="(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
COUNT = """
INSERT INTO aibridge_budget_counters (budget, scope, epoch, unit, bucket, spent)
VALUES {rows}
ON CONFLICT (budget, scope, epoch, unit, bucket)
DO UPDATE SET spent = aibridge_budget_counters.spent + excluded.spent
"""
ESTIMATED = """
SELECT id, budget, scope, epoch, unit, bucket, charge FROM aibridge_budget_entries
WHERE interception_id = ? AND how = 'estimated'
"""
