"""SQL of budgets: holds, charges, counters and leases."""

from aibridge_addon.store.sql.figures import LACKS_TOKENS

STANDING = """
SELECT (SELECT coalesce(sum(spent), 0) FROM aibridge_budget_counters
        WHERE budget = :budget AND scope = :scope AND epoch = :epoch
          AND unit = :unit AND bucket >= :first),
       (SELECT coalesce(sum(amount), 0) FROM aibridge_budget_holds
        WHERE budget = :budget AND scope = :scope AND epoch = :epoch
          AND unit = :unit AND bucket >= :first)
"""
EPOCH = "SELECT count(*) FROM aibridge_budget_resets WHERE budget = ? AND scope IN (?, '*')"
HOLD = """
INSERT INTO aibridge_budget_holds
    (id, interception_id, budget, scope, epoch, bucket, unit, amount, likely, input, owner,
     created_at)
VALUES (:id, :interception_id, :budget, :scope, :epoch, :bucket, :unit, :amount, :likely, :input,
        :owner, :created_at)
"""
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
HOLDS_OF = """
SELECT min(id), budget, scope, epoch, unit, min(bucket), sum(amount), sum(likely), sum(input)
FROM aibridge_budget_holds WHERE interception_id = ? GROUP BY budget, scope, epoch, unit
"""
REMOVE_HOLDS = "DELETE FROM aibridge_budget_holds WHERE interception_id = ?"
SPENT = (
    "SELECT coalesce(sum(spent), 0) FROM aibridge_budget_counters"
    " WHERE budget = ? AND scope = ? AND epoch = ? AND unit = ? AND bucket >= ?"
)
WARNING = (
    "INSERT INTO aibridge_budget_warnings (budget, scope, epoch, bucket, percent)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
OUTCOME = f"""
SELECT coalesce(i.status, 'interrupted'), i.http_status, count(u.id),
       count(CASE WHEN u.cost_nano_usd IS NULL THEN u.id END),
       coalesce(sum(u.cost_nano_usd), 0),
       coalesce(sum(coalesce(u.input_tokens, 0) + coalesce(u.cache_write_input_tokens, 0)
                    + coalesce(u.output_tokens, 0)), 0),
       count(CASE WHEN {LACKS_TOKENS.format(t="u")} THEN u.id END)
FROM (SELECT :id AS id) x LEFT JOIN aibridge_interceptions i ON i.id = x.id
LEFT JOIN aibridge_token_usages u ON u.interception_id = x.id
GROUP BY i.status, i.http_status
"""  # noqa: S608 text of these modules
ENTRY = """
INSERT INTO aibridge_budget_entries
    (id, interception_id, budget, scope, epoch, unit, bucket, charge, how, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
COUNT = """
INSERT INTO aibridge_budget_counters (budget, scope, epoch, unit, bucket, spent)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (budget, scope, epoch, unit, bucket)
DO UPDATE SET spent = aibridge_budget_counters.spent + excluded.spent RETURNING spent
"""
ESTIMATED = """
SELECT id, budget, scope, epoch, unit, bucket, charge FROM aibridge_budget_entries
WHERE interception_id = ? AND how = 'estimated'
"""
