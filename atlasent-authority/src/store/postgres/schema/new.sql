-- The end of each organization's chain. Whoever changes anything of an organization holds the lock of its row, so that
-- all processes take turns.
CREATE TABLE atlasent_head (
    org text COLLATE "C" NOT NULL,
    org_id text NOT NULL,
    sequence bigint NOT NULL,
    hash text NOT NULL,
    time text NOT NULL,
    -- Events up to here are dropped. Their rows go some at a time.
    dropped bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (org)
);

-- Texts are compared byte by byte, as the rest of the program compares them.
CREATE TABLE atlasent_events (
    org text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    actor_id text COLLATE "C",
    occurred_at text COLLATE "C" NOT NULL,
    previous_hash text NOT NULL,
    hash text NOT NULL,
    payload text NOT NULL,
    PRIMARY KEY (org, sequence)
) /* PARTITIONS */;
CREATE INDEX atlasent_events_kind ON atlasent_events (org, kind, sequence);
CREATE INDEX atlasent_events_actor ON atlasent_events (org, actor_id, sequence);
CREATE INDEX atlasent_events_kind_actor ON atlasent_events (org, kind, actor_id, sequence);
CREATE INDEX atlasent_events_moment ON atlasent_events (org, occurred_at, sequence);

CREATE TABLE atlasent_cells (
    org text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    value text NOT NULL,
    -- Microseconds since 1970.
    expires_at bigint NOT NULL,
    -- The sequence number of the event that issued a permit. Other cells have none.
    issued bigint,
    -- The sequence number of the event that opened a pending decision, and whether it is closed. Other cells have
    -- neither.
    opened bigint,
    closed boolean,
    PRIMARY KEY (org, key)
) /* PARTITIONS */;
CREATE INDEX atlasent_cells_expiry ON atlasent_cells (org, expires_at);
CREATE INDEX atlasent_cells_issued ON atlasent_cells (org, issued) WHERE issued IS NOT NULL;
CREATE INDEX atlasent_cells_approvals ON atlasent_cells (org, closed, opened) WHERE opened IS NOT NULL;

-- The API keys of all servers on this database, as their hashes.
CREATE TABLE atlasent_api_keys (
    key_id text PRIMARY KEY,
    key text NOT NULL,
    -- Microseconds since 1970.
    created_at bigint NOT NULL
);

-- The version of the API keys: one row, changed by every change to a key in the transaction of that change, whoever
-- makes it. A server compares it before it reads the keys again.
CREATE TABLE atlasent_api_keys_version (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version bigint NOT NULL
);
INSERT INTO atlasent_api_keys_version (version) VALUES (1);
CREATE FUNCTION atlasent_api_keys_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE atlasent_api_keys_version SET version = version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER atlasent_api_keys_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON atlasent_api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION atlasent_api_keys_changed();

-- The registry of organizations, beside `local`, with its version.
CREATE TABLE atlasent_organizations (
    org text COLLATE "C" PRIMARY KEY CHECK (org <> 'local'),
    record text NOT NULL,
    -- Microseconds since 1970.
    created_at bigint NOT NULL
);
CREATE TABLE atlasent_organizations_version (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version bigint NOT NULL
);
INSERT INTO atlasent_organizations_version (version) VALUES (1);
CREATE FUNCTION atlasent_organizations_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE atlasent_organizations_version SET version = version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER atlasent_organizations_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON atlasent_organizations
    FOR EACH STATEMENT EXECUTE FUNCTION atlasent_organizations_changed();

-- Not in the write-ahead log: counts need not survive a crash.
CREATE UNLOGGED TABLE atlasent_calls (
    -- A digest of the counter's name.
    counter bytea PRIMARY KEY,
    minute bigint NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX atlasent_calls_minute ON atlasent_calls (minute);
