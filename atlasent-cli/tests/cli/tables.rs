//! `atlasent store schema`.

use crate::support::atlasent;

#[test]
fn the_tables_of_a_database_are_printed_partitioned_or_not() {
    let whole = atlasent(["store", "schema"]).prints();
    assert!(whole.starts_with("BEGIN;\n") && whole.ends_with("COMMIT;\n"));
    assert!(
        whole.contains("CREATE TABLE atlasent_events (\n"),
        "{whole}"
    );
    assert!(!whole.contains("PARTITION"), "{whole}");
    let parts = atlasent(["store", "schema", "--partitions", "3"]).prints();
    assert_eq!(parts.matches("PARTITION BY HASH (org)").count(), 2);
    assert_eq!(parts.matches("MODULUS 3").count(), 6);
}

#[test]
fn no_partitions_are_a_misuse() {
    atlasent(["store", "schema", "--partitions", "0"]).misuse();
}
