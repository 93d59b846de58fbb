-- Which migrations this database has had. Written by tallygate/store/migrate.py, in the transaction of each migration.

CREATE TABLE schema_migrations (
    number      INTEGER NOT NULL PRIMARY KEY CHECK (number >= 0),
    name        TEXT NOT NULL,
    digest      TEXT NOT NULL CHECK (length(digest) = 64),
    applied_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
