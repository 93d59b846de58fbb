-- applied: The migrations this database has had, oldest first.
SELECT number, name, digest FROM schema_migrations ORDER BY number;

-- record: Note that a migration has been carried out; part of that migration's own transaction.
INSERT INTO schema_migrations (number, name, digest, applied_at) VALUES (:number, :name, :digest, :applied_at);

-- install: Give this installation its id, unless it has one.
INSERT INTO install (install_id, created_at) VALUES (:install_id, :created_at) ON CONFLICT DO NOTHING;

-- install_id: The id of this installation.
SELECT install_id FROM install;

-- give_plan_key: Give this installation the key that its plans are sealed with, unless it has one.
UPDATE install SET plan_key = :plan_key WHERE plan_key IS NULL;

-- plan_key: The key that the plans of this installation are sealed with.
SELECT plan_key FROM install;
