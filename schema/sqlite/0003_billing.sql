-- Bills: versions of what a source delivered, costs per job and per day, what could not be attributed.

-- One delivery of one billing period of one source. Its rows are in the file at path, under the state directory's charges/.
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
-- One version of a period is current at any instant; switching is one transaction.
CREATE UNIQUE INDEX one_current_version ON charge_versions (source, period_start) WHERE state = 'current';

-- What a version comes to per day and currency: the control totals that the attributed costs must add up to.
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

-- What each job cost on each UTC day, by when it was used: the rows behind the trends.
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

-- Charges without a job, put together by day, service, resource and reason; line is the first of line_count lines.
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

-- What the everyday reports read, so that they read nothing else of the wide jobs table.
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
