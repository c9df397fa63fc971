//! Tests what does not compile. Each case in `fail` is a small program, and each `.stderr` is the
//! message that its author reads. What compiles is a test of its own, beside this file.
//!
//! After a deliberate change of a message, run `TRYBUILD=overwrite cargo test -p atlasent-tests-ui
//! --test misuse`, and read the difference as a user would.

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
