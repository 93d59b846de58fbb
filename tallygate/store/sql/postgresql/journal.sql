-- The ledger's journal on PostgreSQL. Each act is one statement, and with it one round trip: the conditional UPDATE waits
-- for whoever is changing the account, decides again on the newest row, and everything else follows from what it returned.

-- lock_budget: one budget, kept as it is until the transaction ends
SELECT * FROM budgets WHERE budget_id = :budget_id FOR UPDATE;

-- holds_locked: the holds of a job, kept as they are until the transaction ends
SELECT holds.*, accounts.currency
FROM holds JOIN accounts ON accounts.account_id = holds.account_id
WHERE holds.job_id = :job_id
ORDER BY holds.account_id
FOR UPDATE OF holds;

-- open_account: an account and the entry that funds it, unless it is there
WITH account AS (
    INSERT INTO accounts (account_id, budget_id, job_id, starts_at, ends_at, currency, hard, limit_nanos, held_nanos,
                          spent_nanos, excess_nanos, entries, head)
    VALUES (:account_id, :budget_id, :job_id, :starts_at, :ends_at, :currency, :hard, :amount_nanos, 0, 0, 0, 1, :head)
    ON CONFLICT DO NOTHING
    RETURNING account_id, limit_nanos, head
)
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, 1, NULL, 'fund', limit_nanos, 'limit', 'available', :key, :at, :author, :reason, head
FROM account;

-- admit: hold money on an account if it fits; one row says that it did
WITH account AS (
    UPDATE accounts
    SET held_nanos = held_nanos + :amount_nanos,
        excess_nanos = CASE WHEN hard = 1 THEN excess_nanos
                            ELSE greatest(0, held_nanos + spent_nanos + :amount_nanos - limit_nanos) END,
        entries = entries + 1,
        head = encode(sha256(convert_to(head || '|' || (entries + 1) || '|' || :body, 'UTF8')), 'hex')
    WHERE account_id = :account_id AND currency = :currency
      AND (hard = 0 OR held_nanos + spent_nanos + :amount_nanos <= limit_nanos)
      AND NOT EXISTS (SELECT 1 FROM holds
                      WHERE job_id = :job_id AND account_id >= :siblings AND account_id < :siblings_end)
    RETURNING account_id, entries, head
), hold AS (
    INSERT INTO holds (job_id, account_id, amount_nanos, captured_nanos, released_nanos, spent_nanos, expires_at,
                       opened_at, closed_at, revision, seal)
    SELECT :job_id, account_id, :amount_nanos, 0, 0, 0, :expires_at, :at, NULL, 0, :seal
    FROM account
)
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, entries, :job_id, 'authorize', :amount_nanos, 'available', 'held', :key, :at, :author, :reason, head
FROM account;

-- admit_more: enlarge a hold if it fits; one row says that it did
WITH account AS (
    UPDATE accounts
    SET held_nanos = held_nanos + :amount_nanos,
        excess_nanos = CASE WHEN hard = 1 THEN excess_nanos
                            ELSE greatest(0, held_nanos + spent_nanos + :amount_nanos - limit_nanos) END,
        entries = entries + 1,
        head = encode(sha256(convert_to(head || '|' || (entries + 1) || '|' || :body, 'UTF8')), 'hex')
    WHERE account_id = :account_id
      AND (hard = 0 OR held_nanos + spent_nanos + :amount_nanos <= limit_nanos)
      AND EXISTS (SELECT 1 FROM holds
                  WHERE job_id = :job_id AND account_id = :account_id AND revision = :revision - 1 AND closed_at IS NULL)
    RETURNING account_id, entries, head
), hold AS (
    UPDATE holds
    SET amount_nanos = :total_nanos, expires_at = :expires_at, revision = :revision, seal = :seal
    FROM account
    WHERE holds.job_id = :job_id AND holds.account_id = account.account_id
)
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, entries, :job_id, 'extend', :amount_nanos, 'available', 'held', :key, :at, :author, :reason, head
FROM account;

-- append: move money that cannot be refused
WITH account AS (
    UPDATE accounts
    SET limit_nanos = limit_nanos + :limit_change,
        held_nanos = held_nanos + :held_change,
        spent_nanos = spent_nanos + :spent_change,
        excess_nanos = greatest(0, held_nanos + :held_change + spent_nanos + :spent_change - limit_nanos - :limit_change),
        entries = entries + 1,
        head = encode(sha256(convert_to(head || '|' || (entries + 1) || '|' || :body, 'UTF8')), 'hex')
    WHERE account_id = :account_id
    RETURNING account_id, entries, head
)
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, entries, :job_id, :kind, :amount_nanos, :source, :target, :key, :at, :author, :reason, head
FROM account;

-- accounts_after: a page of accounts for the verifier, each with the text that its opening hash covers
SELECT account_id,
       account_id || chr(10) || coalesce('=' || budget_id, '') || chr(10) || coalesce('=' || job_id, '') || chr(10)
       || to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || chr(10)
       || to_char(ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || chr(10) || currency || chr(10) || hard AS opening,
       (budget_id IS NOT NULL)::int AS is_window,
       limit_nanos, held_nanos, spent_nanos, excess_nanos, entries, head
FROM accounts
WHERE account_id > :account_id
ORDER BY account_id
LIMIT :most;

-- entries_after: a page of entries for the verifier, each with the text that its hash covers
SELECT e.account_id, e.sequence, e.kind, e.amount_nanos,
       e.account_id || chr(10) || coalesce('=' || e.job_id, '') || chr(10) || e.kind || chr(10) || e.amount_nanos || chr(10)
       || e.source || chr(10) || e.target || chr(10) || e.key || chr(10)
       || to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || chr(10) || e.author || chr(10) || e.reason AS body,
       e.hash,
       CASE WHEN e.kind IN ('fund', 'defund') THEN (e.job_id IS NULL)::int
            ELSE (EXISTS (SELECT 1 FROM holds h
                         WHERE h.job_id = e.job_id AND h.account_id = e.account_id))::int END AS is_owned
FROM entries e
WHERE (e.account_id, e.sequence) > (:account_id, :sequence) AND e.account_id <= :until
ORDER BY e.account_id, e.sequence
LIMIT :most;

-- holds_after: a page of holds for the verifier, each with the text that its seal covers and what its entries come to
SELECT h.job_id, h.account_id,
       h.job_id || chr(10) || h.account_id || chr(10) || h.amount_nanos || chr(10) || h.captured_nanos || chr(10)
       || h.released_nanos || chr(10) || h.spent_nanos || chr(10)
       || to_char(h.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || chr(10)
       || to_char(h.opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || chr(10)
       || coalesce('=' || to_char(h.closed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '') || chr(10) || h.revision AS sealed,
       h.seal, (h.closed_at IS NULL)::int AS is_open,
       h.amount_nanos, h.captured_nanos, h.released_nanos, h.spent_nanos,
       s.entries_amount, s.entries_captured, s.entries_released, s.entries_spent
FROM (SELECT * FROM holds
      WHERE (job_id, account_id) > (:job_id, :account_id)
      ORDER BY job_id, account_id LIMIT :most) AS h
LEFT JOIN LATERAL (
    SELECT coalesce(sum(CASE WHEN e.kind IN ('authorize', 'extend') THEN e.amount_nanos END), 0)::bigint AS entries_amount,
           coalesce(sum(CASE e.kind WHEN 'capture' THEN e.amount_nanos WHEN 'reverse' THEN -e.amount_nanos END), 0)::bigint AS entries_captured,
           coalesce(sum(CASE WHEN e.kind IN ('trim', 'release', 'expire') THEN e.amount_nanos END), 0)::bigint AS entries_released,
           coalesce(sum(CASE WHEN e.kind IN ('capture', 'overrun') THEN e.amount_nanos
                         WHEN e.kind IN ('refund', 'reverse') THEN -e.amount_nanos END), 0)::bigint AS entries_spent
    FROM entries e
    WHERE e.account_id = h.account_id AND e.key >= h.job_id || ':' AND e.key < h.job_id || ';' AND e.job_id = h.job_id
) AS s ON true
ORDER BY h.job_id, h.account_id;
