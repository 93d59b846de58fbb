-- What PostgreSQL says differently: the UTC day of a stored instant.

-- unconfirmed_days: what jobs without a bill are thought to cost, by the day they began and provider
SELECT CAST(coalesce(started_at, created_at) AT TIME ZONE 'UTC' AS DATE) AS usage_date, provider, cost_state, count(*) AS jobs,
       sum(coalesce(metered_cost_nanos, estimated_cost_nanos)) AS thought_nanos
FROM jobs
WHERE cost_state IN ('estimated', 'metered') AND coalesce(started_at, created_at) >= :since
  AND coalesce(started_at, created_at) < :until AND currency = :currency
  AND (CAST(:provider AS TEXT) IS NULL OR provider = :provider)
GROUP BY usage_date, provider, cost_state ORDER BY usage_date, provider, cost_state;
