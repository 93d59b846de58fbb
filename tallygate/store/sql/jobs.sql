-- Jobs, attempts, their events, and orphans.

-- add: keep a new job
INSERT INTO jobs (
    job_id, name, status, cost_state, provider, instance_type, region, zone, purchase_option, vcpus, memory_gib, gpus,
    gpu_model, s3_bucket, s3_input_path, gdrive_path, basis_set, spec, billing_tags, metadata, charged_to, currency,
    estimated_runtime_seconds, run_seconds_max, price_per_hour_nanos, on_demand_price_nanos, priced_at, price_source,
    budget_limit_nanos, estimated_cost_nanos, hold_nanos, request_key, request_digest, created_at, updated_at)
VALUES (
    :job_id, :name, :status, :cost_state, :provider, :instance_type, :region, :zone, :purchase_option, :vcpus, :memory_gib,
    :gpus, :gpu_model, :s3_bucket, :s3_input_path, :gdrive_path, :basis_set, :spec, :billing_tags, :metadata, :charged_to,
    :currency, :estimated_runtime_seconds, :run_seconds_max, :price_per_hour_nanos, :on_demand_price_nanos, :priced_at,
    :price_source, :budget_limit_nanos, :estimated_cost_nanos, :hold_nanos, :request_key, :request_digest, :at, :at);

-- get: one job by its id
SELECT * FROM jobs WHERE job_id = :job_id;

-- by_prefix: the first two jobs whose id starts like this
SELECT * FROM jobs WHERE job_id >= :prefix AND job_id < :prefix_end ORDER BY job_id LIMIT 2;

-- newest_named: the newest job of a name
SELECT * FROM jobs WHERE name = :name ORDER BY created_at DESC, job_id DESC LIMIT 1;

-- runs: the machines of the newest finished jobs of a name, one row each, jobs together, newest first
SELECT j.job_id, a.number, a.provider, a.instance_type, a.vcpus, a.started_at, a.launched_at, a.ended_at
FROM (SELECT job_id, created_at FROM jobs
      WHERE name = :name AND status = 'completed'
      ORDER BY created_at DESC, job_id DESC LIMIT :most) AS j
JOIN attempts AS a ON a.job_id = j.job_id AND a.state = 'ended'
ORDER BY j.created_at DESC, j.job_id DESC, a.number;

-- other_ends: how many jobs of a name ended without finishing their work
SELECT count(*) AS jobs FROM jobs WHERE name = :name AND status IN ('failed', 'terminated');

-- by_request: the job that a request key has made
SELECT * FROM jobs WHERE request_key = :request_key;

-- rows: the newest jobs, for lists
SELECT job_id, name, status, cost_state, provider, instance_type, region, created_at, started_at, completed_at, currency,
       price_per_hour_nanos, estimated_cost_nanos, metered_cost_nanos, billed_cost_nanos, final_cost_nanos,
       budget_limit_nanos, hold_nanos, reason
FROM jobs
WHERE archived_at IS NULL AND (CAST(:provider AS TEXT) IS NULL OR provider = :provider)
ORDER BY created_at DESC, job_id DESC LIMIT :most;

-- rows_in: the newest jobs in one state, for lists
SELECT job_id, name, status, cost_state, provider, instance_type, region, created_at, started_at, completed_at, currency,
       price_per_hour_nanos, estimated_cost_nanos, metered_cost_nanos, billed_cost_nanos, final_cost_nanos,
       budget_limit_nanos, hold_nanos, reason
FROM jobs
WHERE status = :status AND archived_at IS NULL AND (CAST(:provider AS TEXT) IS NULL OR provider = :provider)
ORDER BY created_at DESC, job_id DESC LIMIT :most;

-- documented: the newest jobs with every documented column, for the library
SELECT * FROM jobs
WHERE archived_at IS NULL AND (CAST(:status AS TEXT) IS NULL OR status = :status)
ORDER BY created_at DESC, job_id DESC LIMIT :most;

-- totals: how many jobs there are in each state and what they cost so far
SELECT status, currency, count(*) AS jobs, sum(estimated_cost_nanos) AS estimated_nanos, sum(metered_cost_nanos) AS metered_nanos,
       sum(coalesce(final_cost_nanos, billed_cost_nanos)) AS billed_nanos
FROM jobs GROUP BY status, currency ORDER BY status, currency;

-- save: write the machine's side of a job back, unless its state has moved on
UPDATE jobs SET
    status = :status, cost_state = CASE WHEN cost_state = 'estimated' THEN :cost_state ELSE cost_state END,
    provider = :provider, instance_type = :instance_type, region = :region, zone = :zone, instance_id = :instance_id,
    public_ip = :public_ip, metered_cost_nanos = :metered_cost_nanos, hold_nanos = :hold_nanos,
    run_seconds_max = :run_seconds_max, started_at = :started_at, completed_at = :completed_at,
    exit_status = :exit_status, reason = :reason, updated_at = :at
WHERE job_id = :job_id AND status = :was;

-- request_stop: put on record that a job is to end
UPDATE jobs SET stop_requested_at = :at, stop_reason = :reason, updated_at = :at
WHERE job_id = :job_id AND stop_requested_at IS NULL AND status NOT IN ('completed', 'failed', 'terminated');

-- archive: take an old finished job out of the lists, keeping every cost row
UPDATE jobs SET archived_at = :at, updated_at = :at
WHERE job_id = :job_id AND archived_at IS NULL AND status IN ('completed', 'failed', 'terminated');

-- old: finished jobs that ended before a moment and are still in the lists
SELECT * FROM jobs
WHERE completed_at < :before AND archived_at IS NULL AND status IN ('completed', 'failed', 'terminated')
ORDER BY completed_at LIMIT :most;

-- add_attempt: keep a new attempt
INSERT INTO attempts (
    attempt_id, job_id, number, token, state, provider, instance_type, region, zone, purchase_option, vcpus, memory_gib, gpus,
    gpu_model, currency, hourly_price_nanos, on_demand_price_nanos, priced_at, price_source, price_max_nanos,
    run_seconds_max, kill_seconds, not_after, resource_ids, created_at, metered_seconds, metered_nanos, warned_percent,
    fence, lease_owner, lease_until)
VALUES (
    :attempt_id, :job_id, :number, :token, :state, :provider, :instance_type, :region, :zone, :purchase_option, :vcpus,
    :memory_gib, :gpus, :gpu_model, :currency, :hourly_price_nanos, :on_demand_price_nanos, :priced_at, :price_source,
    :price_max_nanos, :run_seconds_max, :kill_seconds, :not_after, '[]', :created_at, 0, 0, 0, :fence, :lease_owner,
    :lease_until);

-- attempts: all attempts of a job
SELECT * FROM attempts WHERE job_id = :job_id ORDER BY number;

-- last_machine: the machine of a job's last attempt
SELECT machine_id, public_address FROM attempts WHERE job_id = :job_id ORDER BY number DESC LIMIT 1;

-- open_attempts: every attempt at one provider whose machine may exist
SELECT * FROM attempts WHERE state IN ('intent', 'unknown', 'live', 'terminating') AND provider = :provider
ORDER BY created_at, attempt_id;

-- count_open_attempts: how many attempts there are whose machine may exist
SELECT count(*) AS attempts FROM attempts WHERE state IN ('intent', 'unknown', 'live', 'terminating');

-- attempt_with: the attempt that a token belongs to
SELECT * FROM attempts WHERE token = :token;

-- used_providers: every provider that ever was asked for a machine
SELECT DISTINCT provider FROM attempts ORDER BY provider;

-- lease: take an attempt, unless somebody has taken it since it was read
UPDATE attempts SET fence = fence + 1, lease_owner = :owner, lease_until = :until
WHERE attempt_id = :attempt_id AND fence = :fence AND state = :was;

-- save_attempt: write an attempt back, unless its fence or state has moved on
UPDATE attempts SET
    state = :state, run_seconds_max = :run_seconds_max, not_after = :not_after, machine_id = :machine_id,
    resource_ids = :resource_ids, public_address = :public_address, launched_at = :launched_at, started_at = :started_at,
    ended_at = :ended_at, end_source = :end_source, end_reason = :end_reason, exit_status = :exit_status,
    metered_seconds = :metered_seconds, metered_nanos = :metered_nanos, missing_since = :missing_since,
    warned_percent = :warned_percent, lease_owner = :lease_owner, lease_until = :lease_until
WHERE attempt_id = :attempt_id AND fence = :fence AND state = :was;

-- add_event: append to a job's story
INSERT INTO job_events (job_id, sequence, at, event, detail)
SELECT :job_id, coalesce(max(sequence), 0) + 1, :at, :event, :detail FROM job_events WHERE job_id = :job_id;

-- events: a job's story
SELECT sequence, at, event, detail FROM job_events WHERE job_id = :job_id ORDER BY sequence;

-- mark_orphan: note the sight of an orphan
INSERT INTO orphans (provider, machine_id, token, first_seen_at, last_seen_at)
VALUES (:provider, :machine_id, :token, :at, :at)
ON CONFLICT (provider, machine_id) DO UPDATE SET last_seen_at = excluded.last_seen_at;

-- orphan: what is known of one orphan
SELECT * FROM orphans WHERE provider = :provider AND machine_id = :machine_id;

-- sweep_orphan: note that an orphan was told to end
UPDATE orphans SET swept_at = :at WHERE provider = :provider AND machine_id = :machine_id;
