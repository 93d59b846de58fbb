-- The price history: one SQLite file of its own, which only ever grows. Instants are whole microseconds since 1970, UTC.
--
--     pools          one machine type in one place, bought in one way
--     observations   its price from an instant on; no price: it was not for sale, or what was said of it was unfit
--     descriptions   what else was said of it from an instant on
--     readings       when a market was read, which is what vouches for prices that did not change

-- version: which schema a file has, and whose file it is
SELECT (SELECT user_version FROM pragma_user_version) AS version,
       (SELECT application_id FROM pragma_application_id) AS application,
       (SELECT count(*) FROM sqlite_master) AS things;

-- create: the schema of version 1; the application's number spells tgph
CREATE TABLE pools (
    pool INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    region TEXT NOT NULL,
    zone TEXT NOT NULL,
    instance_type TEXT NOT NULL,
    purchase_option TEXT NOT NULL CHECK (purchase_option IN ('spot', 'on_demand')),
    currency TEXT NOT NULL,
    UNIQUE (instance_type, provider, region, zone, purchase_option, currency)
) STRICT;
CREATE INDEX pools_by_market ON pools (provider, region);
CREATE TABLE observations (
    pool INTEGER NOT NULL REFERENCES pools,
    at INTEGER NOT NULL,
    nanos INTEGER CHECK (nanos > 0),
    PRIMARY KEY (pool, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE machines (
    machine INTEGER PRIMARY KEY,
    description TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE descriptions (
    pool INTEGER NOT NULL REFERENCES pools,
    at INTEGER NOT NULL,
    machine INTEGER NOT NULL REFERENCES machines,
    PRIMARY KEY (pool, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE readings (
    provider TEXT NOT NULL,
    region TEXT NOT NULL,
    purchase_option TEXT NOT NULL CHECK (purchase_option IN ('spot', 'on_demand')),
    at INTEGER NOT NULL,
    since INTEGER NOT NULL CHECK (since <= at),
    source TEXT NOT NULL,
    PRIMARY KEY (provider, region, purchase_option, at)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER observations_in_order BEFORE INSERT ON observations
WHEN EXISTS (SELECT 1 FROM observations WHERE pool = NEW.pool AND at >= NEW.at)
BEGIN SELECT RAISE(ABORT, 'an observation must be later than those before it'); END;
CREATE TRIGGER readings_in_order BEFORE INSERT ON readings
WHEN EXISTS (SELECT 1 FROM readings WHERE provider = NEW.provider AND region = NEW.region
             AND purchase_option = NEW.purchase_option AND at >= NEW.at)
BEGIN SELECT RAISE(ABORT, 'a reading must be later than those before it'); END;
CREATE TRIGGER pools_stay BEFORE UPDATE ON pools BEGIN SELECT RAISE(ABORT, 'history is never changed'); END;
CREATE TRIGGER pools_remain BEFORE DELETE ON pools BEGIN SELECT RAISE(ABORT, 'history is never deleted'); END;
CREATE TRIGGER observations_stay BEFORE UPDATE ON observations BEGIN SELECT RAISE(ABORT, 'history is never changed'); END;
CREATE TRIGGER observations_remain BEFORE DELETE ON observations BEGIN SELECT RAISE(ABORT, 'history is never deleted'); END;
CREATE TRIGGER machines_stay BEFORE UPDATE ON machines BEGIN SELECT RAISE(ABORT, 'history is never changed'); END;
CREATE TRIGGER machines_remain BEFORE DELETE ON machines BEGIN SELECT RAISE(ABORT, 'history is never deleted'); END;
CREATE TRIGGER descriptions_stay BEFORE UPDATE ON descriptions BEGIN SELECT RAISE(ABORT, 'history is never changed'); END;
CREATE TRIGGER descriptions_remain BEFORE DELETE ON descriptions BEGIN SELECT RAISE(ABORT, 'history is never deleted'); END;
CREATE TRIGGER readings_stay BEFORE UPDATE ON readings BEGIN SELECT RAISE(ABORT, 'history is never changed'); END;
CREATE TRIGGER readings_remain BEFORE DELETE ON readings BEGIN SELECT RAISE(ABORT, 'history is never deleted'); END;
PRAGMA application_id = 1952935016;
PRAGMA user_version = 1;

-- prepare: where rows lie before they are compared; gone when the connection closes
CREATE TEMP TABLE IF NOT EXISTS laid_out (
    instance_type TEXT, zone TEXT, purchase_option TEXT, nanos INTEGER, description TEXT,
    PRIMARY KEY (instance_type, zone, purchase_option)
) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS staged (
    provider TEXT, region TEXT, instance_type TEXT, zone TEXT, purchase_option TEXT, at INTEGER, nanos INTEGER
);
CREATE INDEX IF NOT EXISTS temp.staged_by_market ON staged (provider, region);

-- lay_out: rows of a sheet, to be compared
INSERT INTO temp.laid_out
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows);

-- clear: nothing is laid out
DELETE FROM temp.laid_out;

-- stage: past prices that wait for their sheet
INSERT INTO temp.staged
SELECT :provider, :region, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows);

-- discard: past prices whose sheet will not come, or has come
DELETE FROM temp.staged WHERE provider = :provider AND region = :region;

-- add_pools: pools seen for the first time
INSERT INTO pools (provider, region, zone, instance_type, purchase_option, currency)
SELECT :provider, :region, zone, instance_type, purchase_option, :currency FROM temp.laid_out WHERE true
ON CONFLICT DO NOTHING;

-- add_past_pools: the same for what is staged
INSERT INTO pools (provider, region, zone, instance_type, purchase_option, currency)
SELECT DISTINCT provider, region, zone, instance_type, purchase_option, :currency
FROM temp.staged WHERE provider = :provider AND region = :region
ON CONFLICT DO NOTHING;

-- fill_back: staged prices where they changed, later than anything known; what came before :since is in force at :since
INSERT INTO observations (pool, at, nanos)
WITH placed AS (
    SELECT pools.pool, max(staged.at, :since) AS at, staged.nanos,
           row_number() OVER (PARTITION BY pools.pool, max(staged.at, :since) ORDER BY staged.at DESC) AS place
    FROM temp.staged JOIN pools USING (provider, region, zone, instance_type, purchase_option)
    WHERE staged.provider = :provider AND staged.region = :region AND pools.currency = :currency
), stepping AS (
    SELECT pool, at, nanos, lag(nanos) OVER (PARTITION BY pool ORDER BY at) AS former
    FROM placed
    WHERE place = 1 AND at < :at
      AND NOT EXISTS (SELECT 1 FROM observations WHERE observations.pool = placed.pool AND observations.at >= placed.at)
)
SELECT pool, at, nanos FROM stepping
WHERE nanos IS NOT coalesce(former, (SELECT last.nanos FROM observations AS last
                                     WHERE last.pool = stepping.pool ORDER BY last.at DESC LIMIT 1))
ORDER BY pool, at;

-- moves: how what is laid out differs from what was known last
SELECT count(*) FILTER (WHERE former IS NULL) AS appeared,
       count(*) FILTER (WHERE nanos > former) AS up,
       count(*) FILTER (WHERE nanos < former) AS down
FROM (SELECT laid_out.nanos, (SELECT last.nanos FROM observations AS last
                              WHERE last.pool = pools.pool ORDER BY last.at DESC LIMIT 1) AS former
      FROM temp.laid_out JOIN pools USING (instance_type, zone, purchase_option)
      WHERE pools.provider = :provider AND pools.region = :region AND pools.currency = :currency);

-- observe: the prices that changed
INSERT INTO observations (pool, at, nanos)
SELECT pools.pool, :at, laid_out.nanos
FROM temp.laid_out JOIN pools USING (instance_type, zone, purchase_option)
WHERE pools.provider = :provider AND pools.region = :region AND pools.currency = :currency
  AND laid_out.nanos IS NOT (SELECT last.nanos FROM observations AS last
                             WHERE last.pool = pools.pool ORDER BY last.at DESC LIMIT 1);

-- observe_gone: pools that had a price and are not on the sheet any more
INSERT INTO observations (pool, at, nanos)
SELECT pools.pool, :at, NULL
FROM pools
WHERE provider = :provider AND region = :region
  AND purchase_option IN (SELECT purchase_option FROM temp.laid_out)
  AND NOT EXISTS (SELECT 1 FROM temp.laid_out
                  WHERE laid_out.instance_type = pools.instance_type AND laid_out.zone = pools.zone
                    AND laid_out.purchase_option = pools.purchase_option)
  AND (SELECT last.nanos FROM observations AS last
       WHERE last.pool = pools.pool ORDER BY last.at DESC LIMIT 1) IS NOT NULL;

-- describe: descriptions that are new, and those of pools that changed
INSERT INTO machines (description) SELECT DISTINCT description FROM temp.laid_out WHERE true ON CONFLICT DO NOTHING;
INSERT INTO descriptions (pool, at, machine)
SELECT pools.pool, :at, machines.machine
FROM temp.laid_out
JOIN pools USING (instance_type, zone, purchase_option)
JOIN machines USING (description)
WHERE pools.provider = :provider AND pools.region = :region AND pools.currency = :currency
  AND machines.machine IS NOT (SELECT last.machine FROM descriptions AS last
                               WHERE last.pool = pools.pool ORDER BY last.at DESC LIMIT 1);

-- note_reading: a market was read
INSERT INTO readings (provider, region, purchase_option, at, since, source)
VALUES (:provider, :region, :purchase_option, :at, :since, :source);

-- last_reading: when a market was last read
SELECT max(at) AS at FROM readings WHERE provider = :provider AND region = :region;

-- last_readings: when every market was last read, found from the end of each market's readings
SELECT provider, region, max(at) AS at
FROM (SELECT provider, region, (SELECT max(last.at) FROM readings AS last
                                WHERE last.provider = markets.provider AND last.region = markets.region
                                  AND last.purchase_option = options.value) AS at
      FROM (SELECT DISTINCT provider, region FROM pools) AS markets
      CROSS JOIN json_each('["spot", "on_demand"]') AS options)
WHERE at IS NOT NULL
GROUP BY provider, region;

-- readings: what vouches for prices within a window, in the markets of a type, in order
SELECT provider, region, purchase_option, since, at
FROM (SELECT DISTINCT provider, region, purchase_option FROM pools
      WHERE instance_type = :instance_type
        AND (:provider IS NULL OR provider = :provider) AND (:region IS NULL OR region = :region)
        AND (:purchase_option IS NULL OR purchase_option = :purchase_option)
      ORDER BY provider, region, purchase_option)
CROSS JOIN readings USING (provider, region, purchase_option)
WHERE at >= :earliest AND since < :end
ORDER BY provider, region, purchase_option, at;

-- window: the observations of a type within a window, and the one in force when it begins
SELECT pools.pool, pools.provider, pools.region, pools.zone, pools.instance_type, pools.purchase_option, pools.currency,
       observations.at, observations.nanos
FROM pools JOIN observations ON observations.pool = pools.pool
WHERE pools.instance_type = :instance_type
  AND (:provider IS NULL OR pools.provider = :provider)
  AND (:region IS NULL OR pools.region = :region)
  AND (:zone IS NULL OR pools.zone = :zone)
  AND (:purchase_option IS NULL OR pools.purchase_option = :purchase_option)
  AND observations.at < :end
  AND observations.at >= coalesce((SELECT max(former.at) FROM observations AS former
                                   WHERE former.pool = pools.pool AND former.at <= :start), :start)
ORDER BY pools.provider, pools.region, pools.zone, pools.purchase_option, observations.at;

-- as_of: every price in force at an instant and vouched for, with its description and the last reading of its market up to
-- then; read_at is 0 where only a later reading that tells past prices vouches (the source is that of the same row)
WITH vouching AS (
    SELECT provider, region, purchase_option, max(CASE WHEN at <= :at THEN at ELSE 0 END) AS read_at, source
    FROM readings
    WHERE (:provider IS NULL OR provider = :provider) AND (:region IS NULL OR region = :region)
      AND since <= :at AND at >= :earliest
    GROUP BY provider, region, purchase_option
)
SELECT pools.provider, pools.region, pools.zone, pools.instance_type, pools.purchase_option, pools.currency,
       observations.nanos, vouching.read_at, vouching.source, machines.description
FROM vouching
JOIN pools USING (provider, region, purchase_option)
JOIN observations ON observations.pool = pools.pool
 AND observations.at = (SELECT max(former.at) FROM observations AS former
                        WHERE former.pool = pools.pool AND former.at <= :at)
JOIN descriptions ON descriptions.pool = pools.pool
 AND descriptions.at = (SELECT max(former.at) FROM descriptions AS former
                        WHERE former.pool = pools.pool AND former.at <= :at)
JOIN machines ON machines.machine = descriptions.machine
WHERE observations.nanos IS NOT NULL
  AND (:instance_type IS NULL OR pools.instance_type = :instance_type);

-- types: every type that has a history
SELECT DISTINCT instance_type FROM pools
WHERE (:provider IS NULL OR provider = :provider) AND (:region IS NULL OR region = :region)
ORDER BY instance_type;

-- counts: how much there is, and since when
SELECT (SELECT count(*) FROM pools) AS pools, (SELECT count(*) FROM observations) AS observations,
       (SELECT min(since) FROM readings) AS since, (SELECT max(at) FROM readings) AS upto;
