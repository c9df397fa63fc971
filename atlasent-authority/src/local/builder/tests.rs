use futures_executor::block_on;

use super::*;
use crate::store::{OrgId, Organizations as _};

#[test]
fn a_second_call_replaces_the_first() {
    let policies = || Policies::parse("permit (principal, action, resource);").unwrap();
    let builder = LocalAuthorityBuilder::new(policies())
        .permit_ttl(Duration::from_secs(1))
        .permit_ttl(Duration::from_secs(2))
        .permits_per_agent(NonZeroU64::MIN)
        .permits_per_agent(NonZeroU64::MAX)
        .max_permits(NonZeroU64::MIN)
        .max_permits(NonZeroU64::MAX)
        .max_events(NonZeroU64::MIN)
        .max_events(NonZeroU64::MAX)
        .record_context(true)
        .record_context(false)
        .receipts(false)
        .receipts(true)
        .org_id("one")
        .org_id("two")
        .require_schema("5e0c")
        .require_schema("77aa")
        .approvals_per_agent(NonZeroU64::MIN)
        .approvals_per_agent(5.try_into().unwrap())
        .max_approvals(NonZeroU64::MIN)
        .max_approvals(6.try_into().unwrap())
        .approval_url("https://one.example/{id}")
        .approval_url("https://two.example/{id}")
        .store(MemoryStore::with_limits(1, 1))
        .store(MemoryStore::new());
    assert_eq!(builder.permit_ttl, SignedDuration::from_secs(2));
    let limits = Limits {
        permits_per_agent: u64::MAX,
        approvals_per_agent: 5,
        max_approvals: 6,
        max_permits: Some(NonZeroU64::MAX),
        max_events: Some(NonZeroU64::MAX),
    };
    assert_eq!(builder.limits, limits);
    assert_eq!((builder.record_context, &*builder.org_id), (false, "two"));
    assert!(builder.receipts);
    assert_eq!(
        builder.approval_url.as_deref(),
        Some("https://two.example/{id}")
    );
    assert_eq!(builder.required_schema.as_deref(), Some("77aa"));
}

#[test]
fn an_authority_with_recorded_policies_records_no_start() {
    let policies = |text| Policies::parse(text).unwrap();
    let open = "permit (principal, action, resource);";
    let shut = "forbid (principal, action, resource);";
    let store = MemoryStore::new();
    let mut recorded = None;
    for (text, events) in [(open, 1), (open, 1), (shut, 2), (open, 3), (open, 3)] {
        let builder = LocalAuthorityBuilder::new(policies(text))
            .recorded_policies(recorded)
            .store(store.organization(&OrgId::local()));
        let authority = block_on(builder.build()).unwrap();
        assert_eq!(block_on(store.status()).unwrap().head.sequence, events);
        recorded = Some(authority.policies().digest().to_owned());
    }
}
