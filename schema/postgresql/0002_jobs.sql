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
    vcpus                  BIGINT NOT NULL CHECK (vcpus > 0),
    memory_gib             TEXT NOT NULL,
    gpus                   BIGINT NOT NULL CHECK (gpus >= 0),
    gpu_model              TEXT,
    instance_id            TEXT,
    public_ip              TEXT,
    private_ip             TEXT,
    spot_request_id        TEXT,
    s3_bucket              TEXT,
    s3_input_path          TEXT,
    gdrive_path            TEXT,
    basis_set              TEXT,
    spec                   JSONB NOT NULL,
    billing_tags           JSONB NOT NULL,
    metadata               JSONB NOT NULL,
    charged_to             TEXT,
    currency               TEXT NOT NULL CHECK (length(currency) = 3),
    estimated_runtime_seconds BIGINT NOT NULL CHECK (estimated_runtime_seconds > 0),
    run_seconds_max        BIGINT NOT NULL CHECK (run_seconds_max > 0),
    price_per_hour_nanos   BIGINT NOT NULL CHECK (price_per_hour_nanos > 0),
    on_demand_price_nanos  BIGINT CHECK (on_demand_price_nanos > 0),
    priced_at              TIMESTAMPTZ NOT NULL,
    price_source           TEXT NOT NULL,
    budget_limit_nanos     BIGINT CHECK (budget_limit_nanos BETWEEN 0 AND 100000000000000000),
    estimated_cost_nanos   BIGINT NOT NULL CHECK (estimated_cost_nanos BETWEEN 0 AND 100000000000000000),
    hold_nanos             BIGINT NOT NULL CHECK (hold_nanos BETWEEN 0 AND 100000000000000000),
    metered_cost_nanos     BIGINT CHECK (metered_cost_nanos BETWEEN 0 AND 100000000000000000),
    billed_cost_nanos      BIGINT,
    final_cost_nanos       BIGINT,
    price_per_hour         NUMERIC GENERATED ALWAYS AS (price_per_hour_nanos * 0.000000001) STORED,
    budget_limit           NUMERIC GENERATED ALWAYS AS (budget_limit_nanos * 0.000000001) STORED,
    estimated_cost         NUMERIC GENERATED ALWAYS AS (estimated_cost_nanos * 0.000000001) STORED,
    metered_cost           NUMERIC GENERATED ALWAYS AS (metered_cost_nanos * 0.000000001) STORED,
    actual_cost            NUMERIC GENERATED ALWAYS AS (coalesce(final_cost_nanos, billed_cost_nanos) * 0.000000001) STORED,
    cost_retrieved_at      TIMESTAMPTZ,
    request_key            TEXT UNIQUE,
    request_digest         TEXT,
    created_at             TIMESTAMPTZ NOT NULL,
    updated_at             TIMESTAMPTZ NOT NULL,
    started_at             TIMESTAMPTZ,
    completed_at           TIMESTAMPTZ,
    exit_status            BIGINT,
    reason                 TEXT,
    stop_requested_at      TIMESTAMPTZ,
    stop_reason            TEXT,
    archived_at            TIMESTAMPTZ
);
CREATE INDEX jobs_created ON jobs (created_at DESC, job_id DESC);
CREATE INDEX jobs_status ON jobs (status, created_at DESC);
CREATE INDEX jobs_unbilled ON jobs (completed_at) WHERE completed_at IS NOT NULL AND cost_state <> 'final';

CREATE TABLE attempts (
    attempt_id           TEXT NOT NULL PRIMARY KEY,
    job_id               TEXT NOT NULL REFERENCES jobs (job_id),
    number               BIGINT NOT NULL CHECK (number > 0),
    token                TEXT NOT NULL UNIQUE CHECK (length(token) BETWEEN 1 AND 63),
    state                TEXT NOT NULL CHECK (state IN ('intent', 'unknown', 'live', 'terminating', 'ended', 'void')),
    provider             TEXT NOT NULL,
    instance_type        TEXT NOT NULL,
    region               TEXT NOT NULL,
    zone                 TEXT,
    purchase_option      TEXT NOT NULL CHECK (purchase_option IN ('spot', 'on_demand')),
    vcpus                BIGINT NOT NULL CHECK (vcpus > 0),
    memory_gib           TEXT NOT NULL,
    gpus                 BIGINT NOT NULL CHECK (gpus >= 0),
    gpu_model            TEXT,
    currency             TEXT NOT NULL CHECK (length(currency) = 3),
    hourly_price_nanos   BIGINT NOT NULL CHECK (hourly_price_nanos > 0),
    on_demand_price_nanos BIGINT CHECK (on_demand_price_nanos > 0),
    priced_at            TIMESTAMPTZ NOT NULL,
    price_source         TEXT NOT NULL,
    price_max_nanos      BIGINT NOT NULL CHECK (price_max_nanos > 0),
    run_seconds_max      BIGINT NOT NULL CHECK (run_seconds_max > 0),
    kill_seconds         BIGINT NOT NULL CHECK (kill_seconds >= 0),
    not_after            TIMESTAMPTZ NOT NULL,
    machine_id           TEXT,
    resource_ids         JSONB NOT NULL,
    public_address       TEXT,
    created_at           TIMESTAMPTZ NOT NULL,
    launched_at          TIMESTAMPTZ,
    started_at           TIMESTAMPTZ,
    ended_at             TIMESTAMPTZ,
    end_source           TEXT,
    end_reason           TEXT,
    exit_status          BIGINT,
    metered_seconds      BIGINT NOT NULL CHECK (metered_seconds >= 0),
    metered_nanos        BIGINT NOT NULL CHECK (metered_nanos BETWEEN 0 AND 100000000000000000),
    missing_since        TIMESTAMPTZ,
    warned_percent       BIGINT NOT NULL CHECK (warned_percent >= 0),
    fence                BIGINT NOT NULL CHECK (fence >= 0),
    lease_owner          TEXT,
    lease_until          TIMESTAMPTZ,
    UNIQUE (job_id, number),
    CONSTRAINT an_end_is_an_observation CHECK (state <> 'ended' OR (ended_at IS NOT NULL AND end_source IS NOT NULL)),
    CONSTRAINT live_has_a_machine CHECK (state NOT IN ('live', 'terminating') OR machine_id IS NOT NULL)
);
CREATE INDEX attempts_open ON attempts (created_at) WHERE state IN ('intent', 'unknown', 'live', 'terminating');
CREATE INDEX attempts_machine ON attempts (machine_id) WHERE machine_id IS NOT NULL;
-- At most one machine per job may exist at any instant.
CREATE UNIQUE INDEX one_open_attempt ON attempts (job_id) WHERE state IN ('intent', 'unknown', 'live', 'terminating');

CREATE TABLE job_events (
    job_id    TEXT NOT NULL REFERENCES jobs (job_id),
    sequence  BIGINT NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    event     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    PRIMARY KEY (job_id, sequence)
);

-- Machines seen with our tags and no open attempt: marked at the first sight, swept at a later one.
CREATE TABLE orphans (
    provider       TEXT NOT NULL,
    machine_id     TEXT NOT NULL,
    token          TEXT NOT NULL,
    first_seen_at  TIMESTAMPTZ NOT NULL,
    last_seen_at   TIMESTAMPTZ NOT NULL,
    swept_at       TIMESTAMPTZ,
    PRIMARY KEY (provider, machine_id)
);
