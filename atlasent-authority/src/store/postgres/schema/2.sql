-- The sequence number of the event that issued a permit, so that permits can be listed, the newest
-- first. Other cells have none.
ALTER TABLE atlasent_cells ADD COLUMN issued bigint;
CREATE INDEX atlasent_cells_issued ON atlasent_cells (issued) WHERE issued IS NOT NULL;

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

-- By type and agent at once, and by time in the order of the chain.
CREATE INDEX atlasent_events_kind_actor ON atlasent_events (kind, actor_id, sequence);
CREATE INDEX atlasent_events_moment ON atlasent_events (occurred_at, sequence);
DROP INDEX atlasent_events_time;
