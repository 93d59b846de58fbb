-- The ledger's journal on SQLite. Whoever writes is alone, so several statements are one act; each later statement
-- happens only if the one before it changed exactly one row.

-- lock_budget: one budget; the transaction already keeps others out
SELECT * FROM budgets WHERE budget_id = :budget_id;

-- holds_locked: the holds of a job; the transaction already keeps others out
SELECT holds.*, accounts.currency
FROM holds JOIN accounts ON accounts.account_id = holds.account_id
WHERE holds.job_id = :job_id
ORDER BY holds.account_id;

-- open_account: an account and the entry that funds it, unless it is there
INSERT INTO accounts (account_id, budget_id, job_id, starts_at, ends_at, currency, hard, limit_nanos, held_nanos,
                      spent_nanos, excess_nanos, entries, head)
VALUES (:account_id, :budget_id, :job_id, :starts_at, :ends_at, :currency, :hard, :amount_nanos, 0, 0, 0, 1, :head)
ON CONFLICT DO NOTHING;
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT :account_id, 1, NULL, 'fund', :amount_nanos, 'limit', 'available', :key, :at, :author, :reason, :head
WHERE changes() = 1;

-- admit: hold money on an account if it fits; one row says that it did
UPDATE accounts
SET held_nanos = held_nanos + :amount_nanos,
    excess_nanos = CASE WHEN hard = 1 THEN excess_nanos
                        ELSE max(0, held_nanos + spent_nanos + :amount_nanos - limit_nanos) END,
    entries = entries + 1,
    head = sha256_hex(head || '|' || (entries + 1) || '|' || :body)
WHERE account_id = :account_id AND currency = :currency
  AND (hard = 0 OR held_nanos + spent_nanos + :amount_nanos <= limit_nanos)
  AND NOT EXISTS (SELECT 1 FROM holds
                  WHERE job_id = :job_id AND account_id >= :siblings AND account_id < :siblings_end);
INSERT INTO holds (job_id, account_id, amount_nanos, captured_nanos, released_nanos, spent_nanos, expires_at,
                   opened_at, closed_at, revision, seal)
SELECT :job_id, :account_id, :amount_nanos, 0, 0, 0, :expires_at, :at, NULL, 0, :seal
WHERE changes() = 1;
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, entries, :job_id, 'authorize', :amount_nanos, 'available', 'held', :key, :at, :author, :reason, head
FROM accounts
WHERE account_id = :account_id AND changes() = 1;

-- admit_more: enlarge a hold if it fits; one row says that it did
UPDATE accounts
SET held_nanos = held_nanos + :amount_nanos,
    excess_nanos = CASE WHEN hard = 1 THEN excess_nanos
                        ELSE max(0, held_nanos + spent_nanos + :amount_nanos - limit_nanos) END,
    entries = entries + 1,
    head = sha256_hex(head || '|' || (entries + 1) || '|' || :body)
WHERE account_id = :account_id
  AND (hard = 0 OR held_nanos + spent_nanos + :amount_nanos <= limit_nanos)
  AND EXISTS (SELECT 1 FROM holds
              WHERE job_id = :job_id AND account_id = :account_id AND revision = :revision - 1 AND closed_at IS NULL);
UPDATE holds
SET amount_nanos = :total_nanos, expires_at = :expires_at, revision = :revision, seal = :seal
WHERE job_id = :job_id AND account_id = :account_id AND changes() = 1;
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, entries, :job_id, 'extend', :amount_nanos, 'available', 'held', :key, :at, :author, :reason, head
FROM accounts
WHERE account_id = :account_id AND changes() = 1;

-- append: move money that cannot be refused
UPDATE accounts
SET limit_nanos = limit_nanos + :limit_change,
    held_nanos = held_nanos + :held_change,
    spent_nanos = spent_nanos + :spent_change,
    excess_nanos = max(0, held_nanos + :held_change + spent_nanos + :spent_change - limit_nanos - :limit_change),
    entries = entries + 1,
    head = sha256_hex(head || '|' || (entries + 1) || '|' || :body)
WHERE account_id = :account_id;
INSERT INTO entries (account_id, sequence, job_id, kind, amount_nanos, source, target, key, at, author, reason, hash)
SELECT account_id, entries, :job_id, :kind, :amount_nanos, :source, :target, :key, :at, :author, :reason, head
FROM accounts
WHERE account_id = :account_id AND changes() = 1;

-- accounts_after: a page of accounts for the verifier, each with the text that its opening hash covers
SELECT account_id,
       account_id || char(10) || coalesce('=' || budget_id, '') || char(10) || coalesce('=' || job_id, '') || char(10)
       || starts_at || char(10)
       || ends_at || char(10) || currency || char(10) || hard AS opening,
       budget_id IS NOT NULL AS is_window,
       limit_nanos, held_nanos, spent_nanos, excess_nanos, entries, head
FROM accounts
WHERE account_id > :account_id
ORDER BY account_id
LIMIT :most;

-- entries_after: a page of entries for the verifier, each with the text that its hash covers
SELECT e.account_id, e.sequence, e.kind, e.amount_nanos,
       e.account_id || char(10) || coalesce('=' || e.job_id, '') || char(10) || e.kind || char(10) || e.amount_nanos || char(10)
       || e.source || char(10) || e.target || char(10) || e.key || char(10)
       || e.at || char(10) || e.author || char(10) || e.reason AS body,
       e.hash,
       CASE WHEN e.kind IN ('fund', 'defund') THEN e.job_id IS NULL
            ELSE EXISTS (SELECT 1 FROM holds h
                         WHERE h.job_id = e.job_id AND h.account_id = e.account_id) END AS is_owned
FROM entries e
WHERE (e.account_id, e.sequence) > (:account_id, :sequence) AND e.account_id <= :until
ORDER BY e.account_id, e.sequence
LIMIT :most;

-- holds_after: a page of holds for the verifier, each with the text that its seal covers and what its entries come to
SELECT h.job_id, h.account_id,
       h.job_id || char(10) || h.account_id || char(10) || h.amount_nanos || char(10) || h.captured_nanos || char(10)
       || h.released_nanos || char(10) || h.spent_nanos || char(10)
       || h.expires_at || char(10)
       || h.opened_at || char(10)
       || coalesce('=' || h.closed_at, '') || char(10) || h.revision AS sealed,
       h.seal, h.closed_at IS NULL AS is_open,
       h.amount_nanos, h.captured_nanos, h.released_nanos, h.spent_nanos,
       coalesce(sum(CASE WHEN e.kind IN ('authorize', 'extend') THEN e.amount_nanos END), 0) AS entries_amount,
       coalesce(sum(CASE e.kind WHEN 'capture' THEN e.amount_nanos WHEN 'reverse' THEN -e.amount_nanos END), 0) AS entries_captured,
       coalesce(sum(CASE WHEN e.kind IN ('trim', 'release', 'expire') THEN e.amount_nanos END), 0) AS entries_released,
       coalesce(sum(CASE WHEN e.kind IN ('capture', 'overrun') THEN e.amount_nanos
                         WHEN e.kind IN ('refund', 'reverse') THEN -e.amount_nanos END), 0) AS entries_spent
FROM (SELECT * FROM holds
      WHERE (job_id, account_id) > (:job_id, :account_id)
      ORDER BY job_id, account_id LIMIT :most) AS h
LEFT JOIN entries e ON e.account_id = h.account_id AND e.key >= h.job_id || ':' AND e.key < h.job_id || ';'
                   AND e.job_id = h.job_id
GROUP BY h.job_id, h.account_id
ORDER BY h.job_id, h.account_id;
