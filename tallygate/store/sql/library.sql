-- What programs that launch by themselves put on record through the library.

-- note_machine: what an outside launcher knows of a job's machine
UPDATE jobs SET
    instance_id = coalesce(CAST(:instance_id AS TEXT), instance_id), public_ip = coalesce(CAST(:public_ip AS TEXT), public_ip),
    private_ip = coalesce(CAST(:private_ip AS TEXT), private_ip),
    spot_request_id = coalesce(CAST(:spot_request_id AS TEXT), spot_request_id), metadata = :metadata, updated_at = :at
WHERE job_id = :job_id;
