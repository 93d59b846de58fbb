-- Jobs with their documented columns, and the attempts of the launch protocol.
-- Exact amounts live in the *_nanos columns; the documented decimal columns are generated from them.

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
-- At most one machine per job may exist at any instant.
CREATE UNIQUE INDEX one_open_attempt ON attempts (job_id) WHERE state IN ('intent', 'unknown', 'live', 'terminating');

CREATE TABLE job_events (
    job_id    TEXT NOT NULL REFERENCES jobs (job_id),
    sequence  INTEGER NOT NULL,
    at        TEXT NOT NULL,
    event     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    PRIMARY KEY (job_id, sequence)
) STRICT, WITHOUT ROWID;

-- Machines seen with our tags and no open attempt: marked at the first sight, swept at a later one.
CREATE TABLE orphans (
    provider       TEXT NOT NULL,
    machine_id     TEXT NOT NULL,
    token          TEXT NOT NULL,
    first_seen_at  TEXT NOT NULL,
    last_seen_at   TEXT NOT NULL,
    swept_at       TEXT,
    PRIMARY KEY (provider, machine_id)
) STRICT, WITHOUT ROWID;
