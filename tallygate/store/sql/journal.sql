-- The ledger's journal: what both engines say alike.

-- set_mark: begin a part of the caller's transaction that can be taken back alone
SAVEPOINT ledger;

-- drop_mark: keep that part
RELEASE SAVEPOINT ledger;

-- back_to_mark: take that part back
ROLLBACK TO SAVEPOINT ledger;

-- add_budget: set up a budget unless its name is taken
INSERT INTO budgets (budget_id, name, scope, currency, limit_nanos, period, zone, hard, alert_percents, created_at)
VALUES (:budget_id, :name, :scope, :currency, :limit_nanos, :period, :zone, :hard, :alert_percents, :created_at)
ON CONFLICT DO NOTHING;

-- budgets: all of them
SELECT * FROM budgets ORDER BY name;

-- set_limit: the limit of later windows
UPDATE budgets SET limit_nanos = :limit_nanos WHERE budget_id = :budget_id;

-- account: one account's jars
SELECT * FROM accounts WHERE account_id = :account_id;

-- open_unfunded: an account with a limit of zero, unless it is there
INSERT INTO accounts (account_id, budget_id, job_id, starts_at, ends_at, currency, hard, limit_nanos, held_nanos,
                      spent_nanos, excess_nanos, entries, head)
VALUES (:account_id, :budget_id, :job_id, :starts_at, :ends_at, :currency, :hard, 0, 0, 0, 0, 0, :head)
ON CONFLICT DO NOTHING;

-- holds: the holds of a job
SELECT holds.*, accounts.currency
FROM holds JOIN accounts ON accounts.account_id = holds.account_id
WHERE holds.job_id = :job_id
ORDER BY holds.account_id;

-- revise: write a hold back unless somebody has changed it
UPDATE holds
SET captured_nanos = :captured_nanos, released_nanos = :released_nanos, spent_nanos = :spent_nanos,
    closed_at = :closed_at, revision = :revision, seal = :seal
WHERE job_id = :job_id AND account_id = :account_id AND revision = :revision - 1;

-- entry: what a key stands for in an account
SELECT entries.*, accounts.currency
FROM entries JOIN accounts ON accounts.account_id = entries.account_id
WHERE entries.account_id = :account_id AND entries.key = :key;

-- entry_of_budget: what a key stands for in any window of a budget
SELECT entries.*, accounts.currency
FROM accounts JOIN entries ON entries.account_id = accounts.account_id
WHERE accounts.budget_id = :budget_id AND entries.key = :key;

-- history: a budget's newest entries
SELECT entries.*, accounts.currency
FROM accounts JOIN entries ON entries.account_id = accounts.account_id
WHERE accounts.budget_id = :budget_id
ORDER BY accounts.starts_at DESC, entries.sequence DESC
LIMIT :most;

-- entries_counted: how many entries an account says it has
SELECT entries FROM accounts WHERE account_id = :account_id;

-- misfunded_budget: a budget that never renews whose account has another limit
SELECT budgets.name, budgets.limit_nanos, accounts.limit_nanos AS funded_nanos
FROM budgets JOIN accounts ON accounts.budget_id = budgets.budget_id
WHERE budgets.period = 'none' AND accounts.limit_nanos <> budgets.limit_nanos
ORDER BY budgets.name
LIMIT 1;
