"""Reports: what was spent, by job, day, budget and provider."""
