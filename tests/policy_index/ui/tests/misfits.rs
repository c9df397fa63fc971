//! What does not compile beside the policies of `atlasent-tests-policy-index`. Every `.stderr` is
//! what its author reads.
//!
//! After a deliberate change of a message:
//! `TRYBUILD=overwrite cargo test -p atlasent-tests-policy-index-ui --test misfits`.

use std::env;

#[test]
fn code_that_does_not_fit_the_policies_does_not_compile() {
    // Cargo sets it for the tests of this package. Without it, every case would compile.
    assert_eq!(
        env::var("ATLASENT_POLICY_INDEX").unwrap(),
        env!("ATLASENT_POLICY_INDEX")
    );
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
