-- Bills: their versions, the costs derived from the current ones, and the cost side of jobs.

-- versions: every version of a period of a source
SELECT * FROM charge_versions WHERE source = :source AND period_start = :period_start ORDER BY version;

-- days: what every version of a period comes to, by day and currency
SELECT d.version_id, d.usage_date, d.currency, d.row_count, d.total_nanos
FROM charge_versions v JOIN charge_days d ON d.version_id = v.version_id
WHERE v.source = :source AND v.period_start = :period_start
ORDER BY d.version_id, d.usage_date, d.currency;

-- add_version: keep a delivery
INSERT INTO charge_versions (
    version_id, source, period_start, period_end, version, state, row_count, digest, path, file_sha256, issued_at,
    complete_through, retrieved_at, accepted, flaw, note)
VALUES (
    :version_id, :source, :period_start, :period_end, :version, :state, :row_count, :digest, :path, :file_sha256, :issued_at,
    :complete_through, :retrieved_at, :accepted, :flaw, :note);

-- add_day: keep what a version comes to on a day
INSERT INTO charge_days (version_id, usage_date, currency, row_count, total_nanos)
VALUES (:version_id, :usage_date, :currency, :row_count, :total_nanos);

-- save_version: write down how a version stands now
UPDATE charge_versions SET state = :state, accepted = :accepted, note = :note, complete_through = :complete_through
WHERE version_id = :version_id;

-- complete_through: how far the current bill of a month is complete
SELECT complete_through FROM charge_versions
WHERE source = :source AND period_start = :period_start AND state = 'current';

-- lives: who had which machine of a provider when
SELECT a.job_id, j.currency, a.machine_id, a.resource_ids, a.created_at, a.ended_at
FROM attempts a JOIN jobs j ON j.job_id = a.job_id
WHERE a.provider = :provider AND a.machine_id IS NOT NULL AND a.created_at < :until AND a.ended_at >= :since
UNION ALL
SELECT a.job_id, j.currency, a.machine_id, a.resource_ids, a.created_at, a.ended_at
FROM attempts a JOIN jobs j ON j.job_id = a.job_id
WHERE a.provider = :provider AND a.machine_id IS NOT NULL AND a.created_at < :until AND a.ended_at IS NULL
  AND a.state IN ('intent', 'unknown', 'live', 'terminating');

-- unsettled: whose cost is not final among the jobs that had, or may have had, a machine of a provider then
SELECT a.job_id
FROM attempts a JOIN jobs j ON j.job_id = a.job_id
WHERE a.provider = :provider AND a.created_at < :until AND a.ended_at >= :since AND j.cost_state <> 'final'
UNION
SELECT a.job_id
FROM attempts a JOIN jobs j ON j.job_id = a.job_id
WHERE a.provider = :provider AND a.machine_id IS NOT NULL AND a.created_at < :until AND a.ended_at IS NULL
  AND a.state IN ('intent', 'unknown', 'live', 'terminating') AND j.cost_state <> 'final';

-- job_provider: whose machine a job was last placed on
SELECT provider FROM jobs WHERE job_id = :job_id;

-- job_currency: the currency a job is kept in
SELECT currency FROM jobs WHERE job_id = :job_id;

-- period_costs: the cost rows of a period of a source
SELECT job_id, cost_type, amount_nanos, effective_nanos, list_nanos, currency, raw_data, version_id
FROM cost_tracking
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start);

-- period_days: the daily costs of a period of a source
SELECT job_id, usage_date, currency, billed_nanos, version_id
FROM job_daily_costs
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start);

-- period_unattributed: what nobody bears of a period of a source
SELECT version_id, line, line_count, service_name, resource_id, usage_date, currency, amount_nanos, reason
FROM unattributed_charges
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start);

-- period_accounts: the daily costs of accounts and services of a period of a source
SELECT account_id, service_name, region, usage_date, currency, cost_nanos, version_id
FROM cloud_costs
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start);

-- drop_cost: forget what a job bore of a period of a source for one kind of cost
DELETE FROM cost_tracking
WHERE job_id = :job_id AND source = :source AND cost_type = :cost_type AND billing_period_start = :period_start;

-- drop_day: forget what a job cost on a day by a period of a source
DELETE FROM job_daily_costs
WHERE job_id = :job_id AND usage_date = :usage_date AND source = :source AND currency = :currency
  AND billing_period_start = :period_start;

-- hand_on_costs: the cost rows of a period of a source are those of its version that now counts
UPDATE cost_tracking SET version_id = :version_id, retrieved_at = :at
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start)
  AND version_id <> :version_id;

-- hand_on_days: and so are the daily costs
UPDATE job_daily_costs SET version_id = :version_id
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start)
  AND version_id <> :version_id;

-- drop_unattributed: forget what nobody bore of a period of a source
DELETE FROM unattributed_charges
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start);

-- drop_accounts: forget the daily costs of accounts and services of a period of a source
DELETE FROM cloud_costs
WHERE version_id IN (SELECT version_id FROM charge_versions WHERE source = :source AND period_start = :period_start);

-- add_cost: keep what a job bears of a bill for one kind of cost
INSERT INTO cost_tracking (
    job_id, source, provider, cost_type, amount_nanos, effective_nanos, list_nanos, currency, billing_period_start,
    billing_period_end, retrieved_at, raw_data, version_id)
VALUES (
    :job_id, :source, :provider, :cost_type, :amount_nanos, :effective_nanos, :list_nanos, :currency, :period_start,
    :period_end, :at, :raw_data, :version_id);

-- add_daily: keep what a job cost on a day
INSERT INTO job_daily_costs (
    job_id, usage_date, source, provider, currency, billing_period_start, billed_nanos, version_id)
VALUES (:job_id, :usage_date, :source, :provider, :currency, :period_start, :billed_nanos, :version_id);

-- add_unattributed: keep what nobody bears
INSERT INTO unattributed_charges (
    version_id, line, line_count, source, service_name, resource_id, usage_date, currency, amount_nanos, reason)
VALUES (
    :version_id, :line, :line_count, :source, :service_name, :resource_id, :usage_date, :currency, :amount_nanos, :reason);

-- add_account: keep what a service of an account cost on a day
INSERT INTO cloud_costs (
    cloud_provider, account_id, service_name, region, usage_date, currency, cost_nanos, cost_usd_nanos, version_id,
    created_at, updated_at)
VALUES (
    :source, :account_id, :service_name, :region, :usage_date, :currency, :cost_nanos, :cost_usd_nanos, :version_id,
    :at, :at);

-- job: the side of a job that its bill is about
SELECT job_id, name, status, cost_state, currency, metered_cost_nanos, billed_cost_nanos, final_cost_nanos
FROM jobs WHERE job_id = :job_id;

-- job_attempts: the side of a job's attempts that its bill is about
SELECT provider, state, machine_id, resource_ids, created_at, ended_at, metered_seconds, metered_nanos, currency
FROM attempts WHERE job_id = :job_id ORDER BY number;

-- job_costs: everything that a job bears
SELECT source, provider, cost_type, amount_nanos, effective_nanos, list_nanos, currency, billing_period_start,
       billing_period_end, retrieved_at, raw_data, version_id
FROM cost_tracking WHERE job_id = :job_id ORDER BY billing_period_start, source, cost_type;

-- save_bill: write down where a job's cost stands
UPDATE jobs SET
    cost_state = :cost_state, billed_cost_nanos = :billed_nanos, final_cost_nanos = :final_nanos,
    cost_retrieved_at = :at, updated_at = :at
WHERE job_id = :job_id;

-- unbilled: jobs that ended in a window and whose cost is not final, the longest ended first
SELECT job_id, name FROM jobs
WHERE completed_at IS NOT NULL AND cost_state <> 'final' AND completed_at >= :since AND completed_at < :until
ORDER BY completed_at, job_id LIMIT :most;

-- billed: jobs that ended in a window and whose cost is final, the longest ended first
SELECT job_id, name FROM jobs
WHERE completed_at IS NOT NULL AND completed_at >= :since AND completed_at < :until AND cost_state = 'final'
ORDER BY completed_at, job_id LIMIT :most;

-- unbilled_lives: when and where machines ran, or may have run, whose jobs ended in a window without a final cost, and
-- when and where orphans were seen that no complete bill covers yet
SELECT a.provider, a.created_at, a.ended_at
FROM jobs j JOIN attempts a ON a.job_id = j.job_id
WHERE j.completed_at IS NOT NULL AND j.cost_state <> 'final' AND j.completed_at >= :since AND j.completed_at < :until
  AND (a.machine_id IS NOT NULL OR a.ended_at IS NOT NULL)
UNION ALL
SELECT o.provider, o.first_seen_at, o.last_seen_at
FROM orphans o
WHERE o.last_seen_at >= :since AND o.last_seen_at < :until
  AND NOT EXISTS (SELECT 1 FROM charge_versions v
                  WHERE v.source = o.provider AND v.state = 'current' AND v.complete_through >= o.last_seen_at
                    AND v.period_start <= o.first_seen_at);

-- out_of_balance: current bills whose jobs and unattributed lines do not add up to their control total
SELECT v.source, v.period_start, v.version, t.currency, t.total_nanos AS control_nanos, coalesce(j.nanos, 0) AS jobs_nanos,
       coalesce(u.nanos, 0) AS unattributed_nanos
FROM charge_versions v
JOIN (SELECT version_id, currency, sum(total_nanos) AS total_nanos FROM charge_days GROUP BY version_id, currency) t
    ON t.version_id = v.version_id
LEFT JOIN (SELECT version_id, currency, sum(amount_nanos) AS nanos FROM cost_tracking GROUP BY version_id, currency) j
    ON j.version_id = v.version_id AND j.currency = t.currency
LEFT JOIN (SELECT version_id, currency, sum(amount_nanos) AS nanos FROM unattributed_charges GROUP BY version_id, currency) u
    ON u.version_id = v.version_id AND u.currency = t.currency
WHERE v.state = 'current' AND t.total_nanos <> coalesce(j.nanos, 0) + coalesce(u.nanos, 0)
ORDER BY v.source, v.period_start, t.currency;
