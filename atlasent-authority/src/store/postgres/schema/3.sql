-- Organizations: each has a head, events and cells of its own. What was there belongs to `local`. No column has a
-- default for long: a process of an earlier version that still runs must fail, and not write for `local`.
ALTER TABLE atlasent_head DROP CONSTRAINT atlasent_head_pkey;
ALTER TABLE atlasent_head DROP COLUMN only_one;
ALTER TABLE atlasent_head ADD COLUMN org text COLLATE "C" NOT NULL DEFAULT 'local';
ALTER TABLE atlasent_head ALTER COLUMN org DROP DEFAULT;
ALTER TABLE atlasent_head ADD PRIMARY KEY (org);

ALTER TABLE atlasent_events ADD COLUMN org text COLLATE "C" NOT NULL DEFAULT 'local';
ALTER TABLE atlasent_events ALTER COLUMN org DROP DEFAULT;
ALTER TABLE atlasent_events DROP CONSTRAINT atlasent_events_pkey;
ALTER TABLE atlasent_events ADD PRIMARY KEY (org, sequence);
DROP INDEX atlasent_events_kind, atlasent_events_actor, atlasent_events_kind_actor, atlasent_events_moment;
CREATE INDEX atlasent_events_kind ON atlasent_events (org, kind, sequence);
CREATE INDEX atlasent_events_actor ON atlasent_events (org, actor_id, sequence);
CREATE INDEX atlasent_events_kind_actor ON atlasent_events (org, kind, actor_id, sequence);
CREATE INDEX atlasent_events_moment ON atlasent_events (org, occurred_at, sequence);

ALTER TABLE atlasent_cells ADD COLUMN org text COLLATE "C" NOT NULL DEFAULT 'local';
ALTER TABLE atlasent_cells ALTER COLUMN org DROP DEFAULT;
ALTER TABLE atlasent_cells DROP CONSTRAINT atlasent_cells_pkey;
ALTER TABLE atlasent_cells ADD PRIMARY KEY (org, key);
DROP INDEX atlasent_cells_expiry, atlasent_cells_issued;
CREATE INDEX atlasent_cells_expiry ON atlasent_cells (org, expires_at);
CREATE INDEX atlasent_cells_issued ON atlasent_cells (org, issued) WHERE issued IS NOT NULL;
