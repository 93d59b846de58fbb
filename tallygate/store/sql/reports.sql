-- Reports: aggregates over jobs and the daily costs of the current bills.

-- job: one job with everything its report says
SELECT job_id, name, status, cost_state, provider, instance_type, region, purchase_option, vcpus, charged_to, currency,
       estimated_runtime_seconds, price_per_hour_nanos, budget_limit_nanos, estimated_cost_nanos, hold_nanos,
       metered_cost_nanos, billed_cost_nanos, final_cost_nanos, cost_retrieved_at, created_at, started_at, completed_at, reason
FROM jobs WHERE job_id = :job_id;

-- job_attempts: the machines of a job
SELECT number, state, provider, instance_type, region, zone, purchase_option, currency, hourly_price_nanos, machine_id,
       created_at, launched_at, ended_at, end_reason, exit_status, metered_seconds, metered_nanos
FROM attempts WHERE job_id = :job_id ORDER BY number;

-- job_days: what a job cost on each day
SELECT usage_date, currency, sum(billed_nanos) AS billed_nanos
FROM job_daily_costs WHERE job_id = :job_id GROUP BY usage_date, currency ORDER BY usage_date, currency;

-- confirmed_days: what the bills of some days come to, by day and provider
SELECT usage_date, provider, count(DISTINCT job_id) AS jobs, sum(billed_nanos) AS billed_nanos
FROM job_daily_costs
WHERE usage_date >= :first_date AND usage_date <= :last_date AND currency = :currency
  AND (CAST(:provider AS TEXT) IS NULL OR provider = :provider)
GROUP BY usage_date, provider ORDER BY usage_date, provider;

-- confirmed_providers: what the bills of some days come to, by provider
SELECT provider, count(DISTINCT job_id) AS jobs, sum(billed_nanos) AS billed_nanos
FROM job_daily_costs
WHERE usage_date >= :first_date AND usage_date <= :last_date AND currency = :currency
  AND (CAST(:provider AS TEXT) IS NULL OR provider = :provider)
GROUP BY provider ORDER BY provider;

-- unfinal_providers: the part of the bills of some days that may still move, by provider
-- CROSS JOIN makes SQLite begin with the few jobs whose bill is not final.
SELECT d.provider, sum(d.billed_nanos) AS billed_nanos
FROM jobs j CROSS JOIN job_daily_costs d
WHERE j.cost_state = 'billed' AND d.job_id = j.job_id AND d.usage_date >= :first_date AND d.usage_date <= :last_date AND d.currency = :currency
  AND (CAST(:provider AS TEXT) IS NULL OR d.provider = :provider)
GROUP BY d.provider ORDER BY d.provider;

-- other_currencies: currencies that a report in one currency leaves out
SELECT DISTINCT currency FROM job_daily_costs
WHERE usage_date >= :first_date AND usage_date <= :last_date AND currency <> :currency ORDER BY currency;

-- budget_totals: how jobs with a budget of their own came out, by currency
SELECT currency, count(*) AS jobs,
       sum(CASE WHEN status NOT IN ('completed', 'failed', 'terminated') THEN 1 ELSE 0 END) AS running,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos IS NULL THEN 1 ELSE 0 END) AS unknown,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND cost_state = 'billed' THEN 1 ELSE 0 END) AS unfinal,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos <= budget_limit_nanos
           THEN 1 ELSE 0 END) AS within,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos > budget_limit_nanos
           THEN 1 ELSE 0 END) AS over,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos IS NOT NULL
           THEN budget_limit_nanos ELSE 0 END) AS allocated_nanos,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos IS NOT NULL
           THEN 0 ELSE budget_limit_nanos END) AS undecided_nanos,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') THEN coalesce(billed_cost_nanos, 0) ELSE 0 END)
           AS spent_nanos,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos <= budget_limit_nanos
           THEN budget_limit_nanos - billed_cost_nanos ELSE 0 END) AS savings_nanos,
       sum(CASE WHEN status IN ('completed', 'failed', 'terminated') AND billed_cost_nanos > budget_limit_nanos
           THEN billed_cost_nanos - budget_limit_nanos ELSE 0 END) AS overrun_nanos
FROM jobs WHERE budget_limit_nanos IS NOT NULL GROUP BY currency ORDER BY currency;

-- over_budget: the jobs that cost more than their own budget, the furthest over first
SELECT job_id, name, provider, instance_type, status, cost_state, currency, budget_limit_nanos, estimated_cost_nanos,
       billed_cost_nanos, created_at
FROM jobs WHERE billed_cost_nanos > budget_limit_nanos
ORDER BY billed_cost_nanos - budget_limit_nanos DESC, job_id LIMIT :most;

-- recent_budgeted: the newest jobs with a budget of their own
SELECT job_id, name, provider, instance_type, status, cost_state, currency, budget_limit_nanos, estimated_cost_nanos,
       billed_cost_nanos, created_at
FROM jobs WHERE budget_limit_nanos IS NOT NULL
ORDER BY created_at DESC, job_id DESC LIMIT :most;

-- provider_jobs: how finished jobs came out, by provider
SELECT provider, currency, count(*) AS jobs, sum(CASE WHEN status = 'completed' THEN 1 ELSE 0 END) AS completed,
       sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed,
       sum(CASE WHEN status = 'terminated' THEN 1 ELSE 0 END) AS stopped,
       count(billed_cost_nanos) AS billed, sum(billed_cost_nanos) AS billed_nanos, min(billed_cost_nanos) AS least_nanos,
       max(billed_cost_nanos) AS most_nanos, sum(price_per_hour_nanos) AS prices_nanos
FROM jobs
WHERE completed_at IS NOT NULL AND completed_at >= :since AND completed_at < :until
GROUP BY provider, currency ORDER BY provider, currency;

-- provider_core_seconds: how long the cores of billed finished jobs were rented, by provider
SELECT j.provider, j.currency, sum(a.vcpus * a.metered_seconds) AS core_seconds
FROM jobs j JOIN attempts a ON a.job_id = j.job_id
WHERE j.completed_at IS NOT NULL AND j.completed_at >= :since AND j.completed_at < :until AND j.billed_cost_nanos IS NOT NULL
GROUP BY j.provider, j.currency ORDER BY j.provider, j.currency;
