//! The code of the services is checked against their policies when it compiles.

#[test]
fn every_action_of_the_clinic_is_checked_against_the_policies() {
    // The linker leaves out a library that nothing refers to.
    assert!(clinic::authority().is_ok());
    let sites = atlasent::sites();
    assert!(!sites.is_empty());
    for site in sites {
        // A typed action is checked where it is derived.
        let is_typed = site.function().is_some() && site.type_name().is_some();
        assert!(site.is_checked() || is_typed, "{site:?}");
    }
}
