-- The registry of organizations, beside `local`, for all servers on this database.
CREATE TABLE atlasent_organizations (
    org text COLLATE "C" PRIMARY KEY CHECK (org <> 'local'),
    record text NOT NULL,
    -- Microseconds since 1970.
    created_at bigint NOT NULL
);

-- Organizations that exist already. Their ids need no escaping.
INSERT INTO atlasent_organizations (org, record, created_at)
    SELECT org,
        '{"id":"' || org || '","created_at":"' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"}',
        (extract(epoch FROM now()) * 1000000)::bigint
    FROM atlasent_head WHERE org <> 'local';

-- The version of the registry: one row, changed by every change to an organization in the transaction of that change,
-- whoever makes it. A server compares it before it reads the organizations again.
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
