-- What PostgreSQL says differently: types of values in places where it cannot tell them.

-- add_event: append to a job's story
INSERT INTO job_events (job_id, sequence, at, event, detail)
SELECT CAST(:job_id AS TEXT), coalesce(max(sequence), 0) + 1, CAST(:at AS TIMESTAMPTZ), CAST(:event AS TEXT), CAST(:detail AS TEXT)
FROM job_events WHERE job_id = :job_id;
