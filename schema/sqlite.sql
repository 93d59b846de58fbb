-- The sum of all migrations in schema/sqlite, written by `make schema`. To change it, add a migration.

CREATE TABLE schema_migrations (
    number      INTEGER NOT NULL PRIMARY KEY CHECK (number >= 0),
    name        TEXT NOT NULL,
    digest      TEXT NOT NULL CHECK (length(digest) = 64),
    applied_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE install (
    install_id  TEXT NOT NULL PRIMARY KEY,
    created_at  TEXT NOT NULL
, plan_key TEXT CHECK (length(plan_key) = 64)) STRICT;

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

CREATE TABLE jobs (
    job_id                 TEXT NOT NULL PRIMARY KEY,
    name                   TEXT NOT NULL,
    status                 TEXT NOT NULL CHECK (status IN ('launching', 'launched', 'running', 'interrupted', 'completed',
                                                           'failed', 'terminated')),
    cost_state             TEXT NOT NULL CHECK (cost_state IN ('estimated', 'metered', 'billed', 'final')),
    provider               TEXT NOT NULL,
    instance_type          TEXT NOT NULL,
    region                 TEXT NOT NULL,
    zone                   TEXT,
    purchase_option        TEXT NOT NULL CHECK (purchase_option IN ('spot', 'on_demand')),
    vcpus                  INTEGER NOT NULL CHECK (vcpus > 0),
    memory_gib             TEXT NOT NULL,
    gpus                   INTEGER NOT NULL CHECK (gpus >= 0),
    gpu_model              TEXT,
    instance_id            TEXT,
    public_ip              TEXT,
    private_ip             TEXT,
    spot_request_id        TEXT,
    s3_bucket              TEXT,
    s3_input_path          TEXT,
    gdrive_path            TEXT,
    basis_set              TEXT,
    spec                   TEXT NOT NULL CHECK (spec GLOB '{*}'),
    billing_tags           TEXT NOT NULL CHECK (billing_tags GLOB '{*}'),
    metadata               TEXT NOT NULL CHECK (metadata GLOB '{*}'),
    charged_to             TEXT,
    currency               TEXT NOT NULL CHECK (length(currency) = 3),
    estimated_runtime_seconds INTEGER NOT NULL CHECK (estimated_runtime_seconds > 0),
    run_seconds_max        INTEGER NOT NULL CHECK (run_seconds_max > 0),
    price_per_hour_nanos   INTEGER NOT NULL CHECK (price_per_hour_nanos > 0),
    on_demand_price_nanos  INTEGER CHECK (on_demand_price_nanos > 0),
    priced_at              TEXT NOT NULL,
    price_source           TEXT NOT NULL,
    budget_limit_nanos     INTEGER CHECK (budget_limit_nanos BETWEEN 0 AND 100000000000000000),
    estimated_cost_nanos   INTEGER NOT NULL CHECK (estimated_cost_nanos BETWEEN 0 AND 100000000000000000),
    hold_nanos             INTEGER NOT NULL CHECK (hold_nanos BETWEEN 0 AND 100000000000000000),
    metered_cost_nanos     INTEGER CHECK (metered_cost_nanos BETWEEN 0 AND 100000000000000000),
    billed_cost_nanos      INTEGER,
    final_cost_nanos       INTEGER,
    price_per_hour         REAL GENERATED ALWAYS AS (price_per_hour_nanos / 1e9) VIRTUAL,
    budget_limit           REAL GENERATED ALWAYS AS (budget_limit_nanos / 1e9) VIRTUAL,
    estimated_cost         REAL GENERATED ALWAYS AS (estimated_cost_nanos / 1e9) VIRTUAL,
    metered_cost           REAL GENERATED ALWAYS AS (metered_cost_nanos / 1e9) VIRTUAL,
    actual_cost            REAL GENERATED ALWAYS AS (coalesce(final_cost_nanos, billed_cost_nanos) / 1e9) VIRTUAL,
    cost_retrieved_at      TEXT,
    request_key            TEXT UNIQUE,
    request_digest         TEXT,
    created_at             TEXT NOT NULL,
    updated_at             TEXT NOT NULL,
    started_at             TEXT,
    completed_at           TEXT,
    exit_status            INTEGER,
    reason                 TEXT,
    stop_requested_at      TEXT,
    stop_reason            TEXT,
    archived_at            TEXT
) STRICT;

CREATE INDEX jobs_created ON jobs (created_at DESC, job_id DESC);

CREATE INDEX jobs_status ON jobs (status, created_at DESC);

CREATE INDEX jobs_unbilled ON jobs (completed_at) WHERE completed_at IS NOT NULL AND cost_state <> 'final';

CREATE TABLE attempts (
    attempt_id           TEXT NOT NULL PRIMARY KEY,
    job_id               TEXT NOT NULL REFERENCES jobs (job_id),
    number               INTEGER NOT NULL CHECK (number > 0),
    token                TEXT NOT NULL UNIQUE CHECK (length(token) BETWEEN 1 AND 63),
    state                TEXT NOT NULL CHECK (state IN ('intent', 'unknown', 'live', 'terminating', 'ended', 'void')),
    provider             TEXT NOT NULL,
    instance_type        TEXT NOT NULL,
    region               TEXT NOT NULL,
    zone                 TEXT,
    purchase_option      TEXT NOT NULL CHECK (purchase_option IN ('spot', 'on_demand')),
    vcpus                INTEGER NOT NULL CHECK (vcpus > 0),
    memory_gib           TEXT NOT NULL,
    gpus                 INTEGER NOT NULL CHECK (gpus >= 0),
    gpu_model            TEXT,
    currency             TEXT NOT NULL CHECK (length(currency) = 3),
    hourly_price_nanos   INTEGER NOT NULL CHECK (hourly_price_nanos > 0),
    on_demand_price_nanos INTEGER CHECK (on_demand_price_nanos > 0),
    priced_at            TEXT NOT NULL,
    price_source         TEXT NOT NULL,
    price_max_nanos      INTEGER NOT NULL CHECK (price_max_nanos > 0),
    run_seconds_max      INTEGER NOT NULL CHECK (run_seconds_max > 0),
    kill_seconds         INTEGER NOT NULL CHECK (kill_seconds >= 0),
    not_after            TEXT NOT NULL,
    machine_id           TEXT,
    resource_ids         TEXT NOT NULL CHECK (resource_ids GLOB '[[]*]'),
    public_address       TEXT,
    created_at           TEXT NOT NULL,
    launched_at          TEXT,
    started_at           TEXT,
    ended_at             TEXT,
    end_source           TEXT,
    end_reason           TEXT,
    exit_status          INTEGER,
    metered_seconds      INTEGER NOT NULL CHECK (metered_seconds >= 0),
    metered_nanos        INTEGER NOT NULL CHECK (metered_nanos BETWEEN 0 AND 100000000000000000),
    missing_since        TEXT,
    warned_percent       INTEGER NOT NULL CHECK (warned_percent >= 0),
    fence                INTEGER NOT NULL CHECK (fence >= 0),
    lease_owner          TEXT,
    lease_until          TEXT,
    UNIQUE (job_id, number),
    CONSTRAINT an_end_is_an_observation CHECK (state <> 'ended' OR (ended_at IS NOT NULL AND end_source IS NOT NULL)),
    CONSTRAINT live_has_a_machine CHECK (state NOT IN ('live', 'terminating') OR machine_id IS NOT NULL)
) STRICT;

CREATE INDEX attempts_open ON attempts (created_at) WHERE state IN ('intent', 'unknown', 'live', 'terminating');

CREATE INDEX attempts_machine ON attempts (machine_id) WHERE machine_id IS NOT NULL;

CREATE UNIQUE INDEX one_open_attempt ON attempts (job_id) WHERE state IN ('intent', 'unknown', 'live', 'terminating');

CREATE TABLE job_events (
    job_id    TEXT NOT NULL REFERENCES jobs (job_id),
    sequence  INTEGER NOT NULL,
    at        TEXT NOT NULL,
    event     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    PRIMARY KEY (job_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE orphans (
    provider       TEXT NOT NULL,
    machine_id     TEXT NOT NULL,
    token          TEXT NOT NULL,
    first_seen_at  TEXT NOT NULL,
    last_seen_at   TEXT NOT NULL,
    swept_at       TEXT,
    PRIMARY KEY (provider, machine_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE charge_versions (
    version_id      TEXT NOT NULL PRIMARY KEY,
    source          TEXT NOT NULL,
    period_start    TEXT NOT NULL,
    period_end      TEXT NOT NULL,
    version         INTEGER NOT NULL CHECK (version > 0),
    state           TEXT NOT NULL CHECK (state IN ('current', 'superseded', 'quarantined')),
    row_count       INTEGER NOT NULL CHECK (row_count >= 0),
    digest          TEXT NOT NULL CHECK (length(digest) = 64),
    path            TEXT NOT NULL,
    file_sha256     TEXT NOT NULL CHECK (length(file_sha256) = 64),
    issued_at       TEXT NOT NULL,
    complete_through TEXT NOT NULL,
    retrieved_at    TEXT NOT NULL,
    accepted        INTEGER NOT NULL CHECK (accepted IN (0, 1)),
    flaw            TEXT NOT NULL,
    note            TEXT NOT NULL,
    UNIQUE (source, period_start, version)
) STRICT;

CREATE UNIQUE INDEX one_current_version ON charge_versions (source, period_start) WHERE state = 'current';

CREATE TABLE charge_days (
    version_id   TEXT NOT NULL REFERENCES charge_versions (version_id),
    usage_date   TEXT NOT NULL CHECK (length(usage_date) = 10),
    currency     TEXT NOT NULL CHECK (length(currency) = 3),
    row_count    INTEGER NOT NULL CHECK (row_count > 0),
    total_nanos  INTEGER NOT NULL,
    PRIMARY KEY (version_id, usage_date, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE cost_tracking (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id                TEXT NOT NULL,
    source                TEXT NOT NULL,
    provider              TEXT NOT NULL,
    cost_type             TEXT NOT NULL,
    amount_nanos          INTEGER NOT NULL CHECK (amount_nanos BETWEEN -100000000000000000 AND 100000000000000000),
    amount                REAL GENERATED ALWAYS AS (amount_nanos / 1e9) VIRTUAL,
    effective_nanos       INTEGER NOT NULL,
    list_nanos            INTEGER NOT NULL,
    currency              TEXT NOT NULL DEFAULT 'USD' CHECK (length(currency) = 3),
    billing_period_start  TEXT NOT NULL,
    billing_period_end    TEXT NOT NULL,
    retrieved_at          TEXT NOT NULL,
    raw_data              TEXT CHECK (raw_data GLOB '[[{]*'),
    version_id            TEXT NOT NULL REFERENCES charge_versions (version_id),
    UNIQUE (job_id, source, cost_type, billing_period_start),
    FOREIGN KEY (job_id) REFERENCES jobs (job_id) ON DELETE CASCADE
) STRICT;

CREATE INDEX cost_tracking_retrieved ON cost_tracking (retrieved_at);

CREATE INDEX cost_tracking_version ON cost_tracking (version_id);

CREATE TABLE job_daily_costs (
    job_id               TEXT NOT NULL REFERENCES jobs (job_id),
    usage_date           TEXT NOT NULL CHECK (length(usage_date) = 10),
    source               TEXT NOT NULL,
    provider             TEXT NOT NULL,
    currency             TEXT NOT NULL CHECK (length(currency) = 3),
    billing_period_start TEXT NOT NULL,
    billed_nanos         INTEGER NOT NULL,
    version_id           TEXT NOT NULL REFERENCES charge_versions (version_id),
    PRIMARY KEY (job_id, usage_date, source, currency, billing_period_start)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_daily_costs_date ON job_daily_costs (usage_date, provider, currency, job_id, billed_nanos);

CREATE INDEX job_daily_costs_version ON job_daily_costs (version_id);

CREATE TABLE unattributed_charges (
    version_id    TEXT NOT NULL REFERENCES charge_versions (version_id),
    line          INTEGER NOT NULL CHECK (line > 0),
    line_count    INTEGER NOT NULL CHECK (line_count > 0),
    source        TEXT NOT NULL,
    service_name  TEXT NOT NULL,
    resource_id   TEXT,
    usage_date    TEXT NOT NULL CHECK (length(usage_date) = 10),
    currency      TEXT NOT NULL CHECK (length(currency) = 3),
    amount_nanos  INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    PRIMARY KEY (version_id, line)
) STRICT, WITHOUT ROWID;

CREATE INDEX unattributed_charges_date ON unattributed_charges (usage_date);

CREATE TABLE cloud_costs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    cloud_provider  TEXT NOT NULL,
    account_id      TEXT NOT NULL,
    service_name    TEXT NOT NULL,
    region          TEXT NOT NULL,
    usage_date      TEXT NOT NULL CHECK (length(usage_date) = 10),
    currency        TEXT NOT NULL CHECK (length(currency) = 3),
    cost_nanos      INTEGER NOT NULL CHECK (cost_nanos BETWEEN -100000000000000000 AND 100000000000000000),
    cost_usd_nanos  INTEGER CHECK (cost_usd_nanos BETWEEN -100000000000000000 AND 100000000000000000),
    cost_usd        REAL GENERATED ALWAYS AS (cost_usd_nanos / 1e9) VIRTUAL,
    version_id      TEXT REFERENCES charge_versions (version_id),
    created_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    updated_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    UNIQUE (cloud_provider, account_id, service_name, region, usage_date, currency)
) STRICT;

CREATE INDEX cloud_costs_date ON cloud_costs (usage_date);

CREATE INDEX cloud_costs_provider_date ON cloud_costs (cloud_provider, usage_date);

CREATE INDEX cloud_costs_version ON cloud_costs (version_id);

CREATE INDEX cloud_costs_service ON cloud_costs (service_name);

CREATE VIEW daily_cost_summary AS
SELECT usage_date, cloud_provider, sum(cost_usd_nanos) / 1e9 AS total_cost_usd, count(DISTINCT service_name) AS service_count
FROM cloud_costs GROUP BY usage_date, cloud_provider;

CREATE VIEW service_cost_summary AS
SELECT cloud_provider, service_name, sum(cost_usd_nanos) / 1e9 AS total_cost_usd,
       count(DISTINCT usage_date) AS day_count,
       sum(cost_usd_nanos) / 1e9 / count(DISTINCT usage_date) AS avg_daily_cost_usd,
       min(usage_date) AS first_date, max(usage_date) AS last_date
FROM cloud_costs GROUP BY cloud_provider, service_name;

CREATE INDEX jobs_completed ON jobs (completed_at, provider, status, currency, price_per_hour_nanos, billed_cost_nanos, job_id)
    WHERE completed_at IS NOT NULL;

CREATE INDEX jobs_budgeted ON jobs (currency, status, cost_state, budget_limit_nanos, billed_cost_nanos)
    WHERE budget_limit_nanos IS NOT NULL;

CREATE INDEX jobs_over_budget ON jobs ((billed_cost_nanos - budget_limit_nanos) DESC, job_id)
    WHERE billed_cost_nanos > budget_limit_nanos;

CREATE INDEX jobs_unconfirmed ON jobs (coalesce(started_at, created_at), provider, currency, cost_state, metered_cost_nanos,
                                       estimated_cost_nanos)
    WHERE cost_state IN ('estimated', 'metered');

CREATE INDEX jobs_billed ON jobs (job_id) WHERE cost_state = 'billed';

CREATE INDEX attempts_metered ON attempts (job_id, vcpus, metered_seconds);

CREATE INDEX jobs_named ON jobs (name, created_at DESC, job_id DESC);

CREATE INDEX attempts_ended ON attempts (provider, ended_at) WHERE ended_at IS NOT NULL;

INSERT INTO schema_migrations VALUES (0, 'schema_migrations',
    'e8a01aa69f6e9c3a04eaf7b6dd7664305ba11213142719cb2d7aef14da6a115b', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

INSERT INTO schema_migrations VALUES (1, 'ledger',
    'c8ed2bcb116eafeb965ca3203175e89a62211d98f39f4079b0ef2d2309269a5e', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

INSERT INTO schema_migrations VALUES (2, 'jobs',
    '77f3a3c07f67971b889070b370219668cb55cd7686f02a28eda6bb924a3b0fff', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

INSERT INTO schema_migrations VALUES (3, 'billing',
    'a31dfef35b0e999546e41e2c2b3c4a9ebb8abc6041ba7972350ecb1b4fd034e3', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

INSERT INTO schema_migrations VALUES (4, 'plan_key',
    '2a2d4e6d047e970b2d38d962240f8463b650b7d58e9e50eec9f4eeddf0ccafcc', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

INSERT INTO schema_migrations VALUES (5, 'many_jobs',
    '09b4aaf671a29c912b3e80709ee3ffcde73f55d3eee38d4605132e13ce7fef2d', strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));
