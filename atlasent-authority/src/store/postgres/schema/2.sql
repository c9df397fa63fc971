-- By type and agent at once, and by time in the order of the chain.
CREATE INDEX atlasent_events_kind_actor ON atlasent_events (kind, actor_id, sequence);
CREATE INDEX atlasent_events_moment ON atlasent_events (occurred_at, sequence);
DROP INDEX atlasent_events_time;
