-- Pending decisions: the sequence number of the event that opened one, and whether it is closed, so that open and closed
-- ones can be listed, the newest first. Other cells have neither.
ALTER TABLE atlasent_cells ADD COLUMN opened bigint;
ALTER TABLE atlasent_cells ADD COLUMN closed boolean;
CREATE INDEX atlasent_cells_approvals ON atlasent_cells (org, closed, opened) WHERE opened IS NOT NULL;
