//! The script that creates the tables in a new database, for those who do not let a server do it.

use std::fmt::Write;
use std::num::NonZeroU16;

use super::MIGRATIONS;
use crate::store::PostgresStore;
use crate::trail::chain::ChainHead;

/// The tables as all migrations leave them.
const TABLES: &str = include_str!("new.sql");

/// Marks the end of a table that has rows for each event or permit.
const PARTITIONS: &str = " /* PARTITIONS */";

impl PostgresStore {
    /// Returns the SQL that creates the tables of this version in a new database. A server that
    /// finds them there creates none.
    ///
    /// With `partitions`, the events and the permits are partitioned by organization, into this
    /// number of partitions each.
    ///
    /// ```
    /// use atlasent_authority::PostgresStore;
    ///
    /// let script = PostgresStore::schema(std::num::NonZeroU16::new(8));
    /// assert!(script.contains("PARTITION BY HASH (org)"));
    /// ```
    #[must_use]
    pub fn schema(partitions: Option<NonZeroU16>) -> String {
        let clause = partitions.map_or("", |_| " PARTITION BY HASH (org)");
        let mut script = format!("BEGIN;\n\n{}", TABLES.replace(PARTITIONS, clause));
        if let Some(count) = partitions {
            for table in ["atlasent_events", "atlasent_cells"] {
                script.push('\n');
                for remainder in 0..count.get() {
                    let _ = writeln!(
                        script,
                        "CREATE TABLE {table}_{remainder} PARTITION OF {table} \
                         FOR VALUES WITH (MODULUS {count}, REMAINDER {remainder});"
                    );
                }
            }
        }
        let ChainHead {
            org_id, hash, time, ..
        } = ChainHead::genesis("local");
        let versions: Vec<_> = (1..=MIGRATIONS.len()).map(|n| format!("({n})")).collect();
        let _ = write!(
            script,
            "\n-- The organization that every store has.\n\
             INSERT INTO atlasent_head (org, org_id, sequence, hash, time) \
             VALUES ('{org_id}', '{org_id}', 0, '{hash}', '{time}');\n\n\
             -- The versions of the tables that a server need not create any more.\n\
             CREATE TABLE atlasent_schema (version integer PRIMARY KEY);\n\
             INSERT INTO atlasent_schema (version) VALUES {};\n\n\
             COMMIT;\n",
            versions.join(", ")
        );
        script
    }
}
