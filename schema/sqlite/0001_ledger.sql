-- The ledger: budgets, their accounts, holds, and the journal of entries.

CREATE TABLE install (
    install_id  TEXT NOT NULL PRIMARY KEY,
    created_at  TEXT NOT NULL
) STRICT;
-- One row at most: the expression is the same for every row.
CREATE UNIQUE INDEX one_install ON install ((install_id IS NOT NULL));

CREATE TABLE budgets (
    budget_id       TEXT NOT NULL PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    scope           TEXT NOT NULL,
    currency        TEXT NOT NULL CHECK (length(currency) = 3),
    limit_nanos     INTEGER NOT NULL CHECK (limit_nanos BETWEEN 0 AND 100000000000000000),
    period          TEXT NOT NULL CHECK (period IN ('none', 'day', 'month', 'quarter', 'year')),
    zone            TEXT NOT NULL,
    hard            INTEGER NOT NULL CHECK (hard IN (0, 1)),
    alert_percents  TEXT NOT NULL,
    created_at      TEXT NOT NULL
) STRICT;
CREATE INDEX budgets_scope ON budgets (scope);

CREATE TABLE accounts (
    account_id    TEXT NOT NULL PRIMARY KEY,
    budget_id     TEXT REFERENCES budgets (budget_id),
    job_id        TEXT UNIQUE,
    starts_at     TEXT NOT NULL,
    ends_at       TEXT NOT NULL,
    currency      TEXT NOT NULL CHECK (length(currency) = 3),
    hard          INTEGER NOT NULL CHECK (hard IN (0, 1)),
    limit_nanos   INTEGER NOT NULL CHECK (limit_nanos BETWEEN 0 AND 100000000000000000),
    held_nanos    INTEGER NOT NULL CHECK (held_nanos BETWEEN 0 AND 4000000000000000000),
    spent_nanos   INTEGER NOT NULL CHECK (spent_nanos BETWEEN -4000000000000000000 AND 4000000000000000000),
    excess_nanos  INTEGER NOT NULL CHECK (excess_nanos >= 0),
    entries       INTEGER NOT NULL CHECK (entries >= 0),
    head          TEXT NOT NULL CHECK (length(head) = 64),
    -- The promise itself: beyond the limit only by what an overrun, a lowered limit or a soft budget has put on record.
    CONSTRAINT never_over_the_limit CHECK (held_nanos + spent_nanos <= limit_nanos + excess_nanos),
    CONSTRAINT one_owner CHECK ((budget_id IS NULL) <> (job_id IS NULL)),
    UNIQUE (budget_id, starts_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    job_id          TEXT NOT NULL,
    account_id      TEXT NOT NULL REFERENCES accounts (account_id),
    amount_nanos    INTEGER NOT NULL CHECK (amount_nanos BETWEEN 1 AND 100000000000000000),
    captured_nanos  INTEGER NOT NULL CHECK (captured_nanos >= 0),
    released_nanos  INTEGER NOT NULL CHECK (released_nanos >= 0),
    spent_nanos     INTEGER NOT NULL CHECK (spent_nanos BETWEEN -100000000000000000 AND 100000000000000000),
    expires_at      TEXT NOT NULL,
    opened_at       TEXT NOT NULL,
    closed_at       TEXT,
    revision        INTEGER NOT NULL CHECK (revision >= 0),
    seal            TEXT NOT NULL CHECK (length(seal) = 64),
    PRIMARY KEY (job_id, account_id),
    CONSTRAINT nothing_from_nowhere CHECK (captured_nanos + released_nanos <= amount_nanos),
    CONSTRAINT closed_is_empty CHECK (closed_at IS NULL OR captured_nanos + released_nanos = amount_nanos)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    account_id    TEXT NOT NULL REFERENCES accounts (account_id),
    sequence      INTEGER NOT NULL CHECK (sequence > 0),
    job_id        TEXT,
    kind          TEXT NOT NULL CHECK (kind IN ('fund', 'defund', 'authorize', 'extend', 'trim', 'capture', 'overrun',
                                                'release', 'expire', 'refund', 'reverse')),
    amount_nanos  INTEGER NOT NULL CHECK (amount_nanos BETWEEN 1 AND 100000000000000000),
    source        TEXT NOT NULL CHECK (source IN ('limit', 'available', 'held', 'spent')),
    target        TEXT NOT NULL CHECK (target IN ('limit', 'available', 'held', 'spent')),
    key           TEXT NOT NULL,
    at            TEXT NOT NULL,
    author        TEXT NOT NULL,
    reason        TEXT NOT NULL,
    hash          TEXT NOT NULL CHECK (length(hash) = 64),
    PRIMARY KEY (account_id, sequence),
    UNIQUE (account_id, key),
    CONSTRAINT two_sides CHECK (target <> source)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_are_never_updated BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are never changed: append a correction'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are never deleted: append a correction'); END;
CREATE TRIGGER accounts_are_never_deleted BEFORE DELETE ON accounts
BEGIN SELECT RAISE(ABORT, 'accounts are never deleted'); END;
CREATE TRIGGER holds_are_never_deleted BEFORE DELETE ON holds
BEGIN SELECT RAISE(ABORT, 'holds are never deleted'); END;
