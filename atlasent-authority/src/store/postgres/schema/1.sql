-- The end of the chain: one row. Whoever changes anything holds its lock, so that all processes take turns.
CREATE TABLE atlasent_head (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    org_id text NOT NULL,
    sequence bigint NOT NULL,
    hash text NOT NULL,
    time text NOT NULL,
    -- Events up to here are dropped. Their rows go some at a time.
    dropped bigint NOT NULL DEFAULT 0
);

-- Texts are compared byte by byte, as the rest of the program compares them.
CREATE TABLE atlasent_events (
    sequence bigint PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    actor_id text COLLATE "C",
    occurred_at text COLLATE "C" NOT NULL,
    previous_hash text NOT NULL,
    hash text NOT NULL,
    payload text NOT NULL
);
CREATE INDEX atlasent_events_kind ON atlasent_events (kind, sequence);
CREATE INDEX atlasent_events_actor ON atlasent_events (actor_id, sequence);
CREATE INDEX atlasent_events_time ON atlasent_events (occurred_at);

CREATE TABLE atlasent_cells (
    key bytea PRIMARY KEY,
    value text NOT NULL,
    -- Microseconds since 1970.
    expires_at bigint NOT NULL
);
CREATE INDEX atlasent_cells_expiry ON atlasent_cells (expires_at);

-- The API keys of all servers on this database, as their hashes.
CREATE TABLE atlasent_api_keys (
    key_id text PRIMARY KEY,
    key text NOT NULL,
    -- Microseconds since 1970.
    created_at bigint NOT NULL
);

-- Not in the write-ahead log: counts need not survive a crash.
CREATE UNLOGGED TABLE atlasent_calls (
    -- A digest of the counter's name.
    counter bytea PRIMARY KEY,
    minute bigint NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX atlasent_calls_minute ON atlasent_calls (minute);
