-- The catalogue file: one SQLite database that is written once, then only read, and replaced as a whole.
-- Offers lie clustered by shape and price, so that the cheapest of a shape are neighbours; shapes are numbered by their
-- cheapest offer, so that a search meets the cheapest first and may stop. Words are numbered in the order of their text, so
-- that comparing numbers compares texts. Amounts and GiB are whole nanos, instants are microseconds since 1970 in UTC.

-- make: the tables of an empty catalogue
CREATE TABLE version (id TEXT NOT NULL, made_at TEXT NOT NULL, currency TEXT NOT NULL, offers INTEGER NOT NULL) STRICT;
CREATE TABLE part (
    provider TEXT NOT NULL, region TEXT NOT NULL, read_at TEXT NOT NULL, source TEXT NOT NULL, offers INTEGER NOT NULL,
    refused TEXT NOT NULL, notes TEXT NOT NULL, PRIMARY KEY (provider, region)
) STRICT, WITHOUT ROWID;
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE band (id INTEGER PRIMARY KEY, low TEXT NOT NULL, high TEXT, hours INTEGER NOT NULL) STRICT;
CREATE TABLE source (id INTEGER PRIMARY KEY, says TEXT NOT NULL, is_reference INTEGER NOT NULL) STRICT;
CREATE TABLE shape (
    id INTEGER PRIMARY KEY, cheapest_nanos INTEGER NOT NULL, vcpus INTEGER NOT NULL, memory_nanos INTEGER NOT NULL,
    gpus INTEGER NOT NULL, gpu_key TEXT NOT NULL, gpu_model TEXT, gpu_memory_nanos INTEGER, architecture TEXT,
    provider TEXT NOT NULL, purchase_option TEXT NOT NULL
) STRICT;
CREATE INDEX shape_by_gpu ON shape (gpu_key, id) WHERE gpus > 0;
CREATE TABLE offer (
    shape INTEGER NOT NULL, price_nanos INTEGER NOT NULL, region INTEGER NOT NULL, zone INTEGER NOT NULL,
    type INTEGER NOT NULL, turn INTEGER NOT NULL, on_demand_nanos INTEGER, priced_at INTEGER NOT NULL,
    source INTEGER NOT NULL, band INTEGER, PRIMARY KEY (shape, price_nanos, region, zone, type, turn)
) STRICT, WITHOUT ROWID;

-- add_version: what this file is
INSERT INTO version (id, made_at, currency, offers) VALUES (?, ?, ?, ?);

-- add_part: one provider's region
INSERT INTO part (provider, region, read_at, source, offers, refused, notes) VALUES (?, ?, ?, ?, ?, ?, ?);

-- add_word: a region, zone or type by its number
INSERT INTO word (id, text) VALUES (?, ?);

-- add_band: an interruption band by its number
INSERT INTO band (id, low, high, hours) VALUES (?, ?, ?, ?);

-- add_source: where prices were read, by its number
INSERT INTO source (id, says, is_reference) VALUES (?, ?, ?);

-- add_shape: one shape
INSERT INTO shape (
    id, cheapest_nanos, vcpus, memory_nanos, gpus, gpu_key, gpu_model, gpu_memory_nanos, architecture, provider, purchase_option
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- add_offer: one offer
INSERT INTO offer (shape, price_nanos, region, zone, type, turn, on_demand_nanos, priced_at, source, band)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- version: what this file is
SELECT id, made_at, currency, offers FROM version;

-- parts: what the version is made of
SELECT provider, region, read_at, source, offers, refused, notes FROM part ORDER BY provider, region;

-- references: how many offers of each market are reference prices
SELECT provider, word.text, count(*) FROM offer
JOIN source ON source.id = offer.source AND source.is_reference
JOIN shape ON shape.id = offer.shape
JOIN word ON word.id = offer.region
GROUP BY provider, offer.region;

-- shapes: the shapes that fit a request, the one with the cheapest offer first
SELECT cheapest_nanos, id, vcpus, memory_nanos, provider, purchase_option FROM shape NOT INDEXED
WHERE vcpus BETWEEN :vcpus_min AND :vcpus_max AND purchase_option IN (:one_option, :other_option) AND gpus >= :gpus_min
    AND memory_nanos BETWEEN :memory_min AND :memory_max AND cheapest_nanos <= :price_max
    AND (:gpu_key IS NULL OR gpu_key = :gpu_key) AND (:architecture IS NULL OR architecture = :architecture)
    AND (:provider IS NULL OR provider = :provider)
ORDER BY id;

-- shapes_with_gpus: the same for a request that wants GPUs
SELECT cheapest_nanos, id, vcpus, memory_nanos, provider, purchase_option FROM shape INDEXED BY shape_by_gpu
WHERE gpus > 0 AND gpus >= :gpus_min AND purchase_option IN (:one_option, :other_option)
    AND vcpus BETWEEN :vcpus_min AND :vcpus_max
    AND memory_nanos BETWEEN :memory_min AND :memory_max AND cheapest_nanos <= :price_max
    AND (:gpu_key IS NULL OR gpu_key = :gpu_key) AND (:architecture IS NULL OR architecture = :architecture)
    AND (:provider IS NULL OR provider = :provider)
ORDER BY id;

-- shapes_of_gpu: the same for a request that wants GPUs of one model; they lie in order
SELECT cheapest_nanos, id, vcpus, memory_nanos, provider, purchase_option FROM shape INDEXED BY shape_by_gpu
WHERE gpus > 0 AND gpus >= :gpus_min AND purchase_option IN (:one_option, :other_option)
    AND vcpus BETWEEN :vcpus_min AND :vcpus_max
    AND memory_nanos BETWEEN :memory_min AND :memory_max AND cheapest_nanos <= :price_max
    AND gpu_key = :gpu_key AND (:architecture IS NULL OR architecture = :architecture)
    AND (:provider IS NULL OR provider = :provider)
ORDER BY id;

-- of_shape: offers of a shape up to a price, cheapest first
SELECT price_nanos, region, zone, type, turn, on_demand_nanos, priced_at, source, band FROM offer
WHERE shape = :shape AND price_nanos <= :price_max
ORDER BY price_nanos, region, zone, type, turn LIMIT :count OFFSET :skip;

-- of_shape_at: the same in one region, of one type, or both
SELECT price_nanos, region, zone, type, turn, on_demand_nanos, priced_at, source, band FROM offer
WHERE shape = :shape AND price_nanos <= :price_max AND (:region IS NULL OR region = :region) AND (:type IS NULL OR type = :type)
ORDER BY price_nanos, region, zone, type, turn LIMIT :count OFFSET :skip;

-- shape: what a shape looks like
SELECT vcpus, memory_nanos, architecture, gpus, gpu_model, gpu_memory_nanos, provider, purchase_option FROM shape
WHERE id = ?;

-- word: the text of a number
SELECT text FROM word WHERE id = ?;

-- number: the number of a text
SELECT id FROM word WHERE text = ?;

-- source: where prices were read
SELECT says, is_reference FROM source WHERE id = ?;

-- band: an interruption band
SELECT low, high, hours FROM band WHERE id = ?;

-- everything: every offer with nothing abbreviated, in the order of ranking
SELECT price_nanos, provider, places.text, coalesce(zones.text, ''), types.text, purchase_option, vcpus, memory_nanos,
    architecture, gpus, gpu_model, gpu_memory_nanos, on_demand_nanos, priced_at, says, is_reference, low, high, hours
FROM offer
JOIN shape ON shape.id = offer.shape
JOIN word places ON places.id = offer.region
JOIN word types ON types.id = offer.type
LEFT JOIN word zones ON zones.id = offer.zone
JOIN source ON source.id = offer.source
LEFT JOIN band ON band.id = offer.band
ORDER BY price_nanos, provider, offer.region, offer.zone, offer.type, purchase_option, turn;
