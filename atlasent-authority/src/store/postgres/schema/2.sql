-- The sequence number of the event that issued a permit, so that permits can be listed, the newest
-- first. Other cells have none.
ALTER TABLE atlasent_cells ADD COLUMN issued bigint;
CREATE INDEX atlasent_cells_issued ON atlasent_cells (issued) WHERE issued IS NOT NULL;
