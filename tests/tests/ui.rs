//! Tests what compiles and what does not. Each case is a small program, and each `.stderr` is the
//! message that its author reads.
//!
//! After a deliberate change of a message, run `TRYBUILD=overwrite cargo test -p atlasent-tests
//! --test ui`, and read the difference as a user would.

#[test]
fn every_shape_can_be_protected_and_misuse_does_not_compile() {
    // One set, since two would build the dependencies twice.
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
