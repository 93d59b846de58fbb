-- The ledger: budgets, their accounts, holds, and the journal of entries.

CREATE TABLE install (
    install_id  TEXT NOT NULL PRIMARY KEY,
    created_at  TIMESTAMPTZ NOT NULL
);
-- One row at most: the expression is the same for every row.
CREATE UNIQUE INDEX one_install ON install ((install_id IS NOT NULL));

CREATE TABLE budgets (
    budget_id       TEXT NOT NULL PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    scope           TEXT NOT NULL,
    currency        TEXT NOT NULL CHECK (length(currency) = 3),
    limit_nanos     BIGINT NOT NULL CHECK (limit_nanos BETWEEN 0 AND 100000000000000000),
    period          TEXT NOT NULL CHECK (period IN ('none', 'day', 'month', 'quarter', 'year')),
    zone            TEXT NOT NULL,
    hard            INTEGER NOT NULL CHECK (hard IN (0, 1)),
    alert_percents  TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX budgets_scope ON budgets (scope);

-- The bounds of the ledger's columns are domains, because PostgreSQL prepares a domain's check once per session and a
-- table's checks anew in every statement, and an admission touches three tables.
CREATE DOMAIN currency_code AS TEXT CHECK (length(VALUE) = 3);
CREATE DOMAIN sha256_hex AS TEXT CHECK (length(VALUE) = 64);
CREATE DOMAIN no_or_yes AS INTEGER CHECK (VALUE IN (0, 1));
CREATE DOMAIN counted AS BIGINT CHECK (VALUE >= 0);
CREATE DOMAIN numbered AS BIGINT CHECK (VALUE > 0);
CREATE DOMAIN amount_nanos AS BIGINT CHECK (VALUE BETWEEN 1 AND 100000000000000000);
CREATE DOMAIN limit_nanos AS BIGINT CHECK (VALUE BETWEEN 0 AND 100000000000000000);
CREATE DOMAIN cost_nanos AS BIGINT CHECK (VALUE BETWEEN -100000000000000000 AND 100000000000000000);
CREATE DOMAIN held_nanos AS BIGINT CHECK (VALUE BETWEEN 0 AND 4000000000000000000);
CREATE DOMAIN spent_nanos AS BIGINT CHECK (VALUE BETWEEN -4000000000000000000 AND 4000000000000000000);
CREATE DOMAIN excess_nanos AS BIGINT CHECK (VALUE >= 0);
CREATE DOMAIN jar AS TEXT CHECK (VALUE IN ('limit', 'available', 'held', 'spent'));
CREATE DOMAIN entry_kind AS TEXT CHECK (VALUE IN ('fund', 'defund', 'authorize', 'extend', 'trim', 'capture', 'overrun',
                                                  'release', 'expire', 'refund', 'reverse'));

CREATE TABLE accounts (
    account_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    budget_id     TEXT REFERENCES budgets (budget_id),
    job_id        TEXT UNIQUE,
    starts_at     TIMESTAMPTZ NOT NULL,
    ends_at       TIMESTAMPTZ NOT NULL,
    currency      currency_code NOT NULL,
    hard          no_or_yes NOT NULL,
    limit_nanos   limit_nanos NOT NULL,
    held_nanos    held_nanos NOT NULL,
    spent_nanos   spent_nanos NOT NULL,
    excess_nanos  excess_nanos NOT NULL,
    entries       counted NOT NULL,
    head          sha256_hex NOT NULL,
    -- The promise itself: beyond the limit only by what an overrun, a lowered limit or a soft budget has put on record.
    CONSTRAINT never_over_the_limit CHECK (held_nanos + spent_nanos <= limit_nanos + excess_nanos),
    CONSTRAINT one_owner CHECK ((budget_id IS NULL) <> (job_id IS NULL)),
    UNIQUE (budget_id, starts_at)
) WITH (fillfactor = 50);

-- Accounts that holds and entries name exist by construction: both are inserted from the account row that was just written,
-- in the same statement, and accounts are never deleted. A foreign key would check that again on every admission.
CREATE TABLE holds (
    job_id          TEXT COLLATE "C" NOT NULL,
    account_id      TEXT COLLATE "C" NOT NULL,
    amount_nanos    amount_nanos NOT NULL,
    captured_nanos  counted NOT NULL,
    released_nanos  counted NOT NULL,
    spent_nanos     cost_nanos NOT NULL,
    expires_at      TIMESTAMPTZ NOT NULL,
    opened_at       TIMESTAMPTZ NOT NULL,
    closed_at       TIMESTAMPTZ,
    revision        counted NOT NULL,
    seal            sha256_hex NOT NULL,
    PRIMARY KEY (job_id, account_id),
    CONSTRAINT nothing_from_nowhere CHECK (captured_nanos + released_nanos <= amount_nanos),
    CONSTRAINT closed_is_empty CHECK (closed_at IS NULL OR captured_nanos + released_nanos = amount_nanos)
);

CREATE TABLE entries (
    account_id    TEXT COLLATE "C" NOT NULL,
    sequence      numbered NOT NULL,
    job_id        TEXT,
    kind          entry_kind NOT NULL,
    amount_nanos  amount_nanos NOT NULL,
    source        jar NOT NULL,
    target        jar NOT NULL,
    key           TEXT COLLATE "C" NOT NULL,
    at            TIMESTAMPTZ NOT NULL,
    author        TEXT NOT NULL,
    reason        TEXT NOT NULL,
    hash          sha256_hex NOT NULL,
    PRIMARY KEY (account_id, sequence),
    UNIQUE (account_id, key),
    CONSTRAINT two_sides CHECK (target <> source)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;
CREATE TRIGGER entries_are_never_updated BEFORE UPDATE ON entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change('entries are never changed: append a correction');
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change('entries are never deleted: append a correction');
CREATE TRIGGER accounts_are_never_deleted BEFORE DELETE ON accounts
    FOR EACH ROW EXECUTE FUNCTION refuse_change('accounts are never deleted');
CREATE TRIGGER holds_are_never_deleted BEFORE DELETE ON holds
    FOR EACH ROW EXECUTE FUNCTION refuse_change('holds are never deleted');
-- TRUNCATE asks no row trigger, so it has its own.
CREATE TRIGGER entries_are_never_emptied BEFORE TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('entries are never deleted: append a correction');
CREATE TRIGGER accounts_are_never_emptied BEFORE TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('accounts are never deleted');
CREATE TRIGGER holds_are_never_emptied BEFORE TRUNCATE ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('holds are never deleted');
