-- What every launch and every collection asks must not take longer with every job that ever was.

-- the newest job of a name, and how its runs went
CREATE INDEX jobs_named ON jobs (name, created_at DESC, job_id DESC);
-- which machines the bill of a month may name
CREATE INDEX attempts_ended ON attempts (provider, ended_at) WHERE ended_at IS NOT NULL;
