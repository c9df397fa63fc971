//! `atlasent audit lanes`, on the chains of organizations that share one signing key.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::signing::{KeyRing, signed_head};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::support::{Atlasent, atlasent};

/// The lanes of a tenant, and the list of their heads.
struct Tenant {
    runtime: Runtime,
    folder: TempDir,
    ring: KeyRing,
    lanes: Vec<LocalAuthority>,
    /// The lines of the list.
    list: Vec<String>,
}

impl Tenant {
    /// Creates the lanes `acme-1` and `acme-2`, whose chains have one event each.
    fn new() -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        let lane = |org: &str| {
            let policies = Policies::parse("permit (principal, action, resource);").unwrap();
            let authority = LocalAuthority::builder(policies).org_id(org).build();
            runtime.block_on(authority).unwrap()
        };
        let lanes = ["acme-1", "acme-2"].map(lane).into();
        Self {
            runtime,
            folder: tempfile::tempdir().unwrap(),
            ring: KeyRing::in_memory().unwrap(),
            lanes,
            list: Vec::new(),
        }
    }

    /// Adds events to a lane, and then its head to the list.
    fn act(&mut self, lane: usize, events: usize) {
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        for _ in 0..events {
            let decided = self.runtime.block_on(self.lanes[lane].evaluate(&request));
            assert!(decided.unwrap().decision.is_allow());
        }
        let store = self.lanes[lane].store();
        let head = signed_head(store, &self.ring, &SystemClock);
        let head = self.runtime.block_on(head).unwrap();
        self.list.push(serde_json::to_string(&head).unwrap());
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Exports the trail of a lane as it is now.
    fn export(&self, lane: usize, name: &str) -> PathBuf {
        let filter = EventFilter::default();
        let bundle = self.lanes[lane].export(&filter, &self.ring);
        let mut text = String::new();
        let mut bundle = self.runtime.block_on(bundle).unwrap();
        bundle.read_to_string(&mut text).unwrap();
        self.file(name, &text)
    }

    /// Verifies bundles by a list.
    fn verify(&self, list: &[String], bundles: &[PathBuf], more: &[&str]) -> Atlasent {
        let list = self.file("heads.jsonl", &list.join("\n"));
        let key = self.file("key.pem", self.ring.active().public_key_pem());
        let mut arguments = vec!["audit", "lanes", list.to_str().unwrap()];
        arguments.extend(bundles.iter().map(|bundle| bundle.to_str().unwrap()));
        arguments.extend(["--key", key.to_str().unwrap()]);
        atlasent([&arguments[..], more].concat())
    }

    /// Returns the findings, of which there have to be some.
    fn findings(&self, list: &[String], bundles: &[PathBuf]) -> Vec<String> {
        let report = self.verify(list, bundles, &["--json"]).finds();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["verified"], false);
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding.as_str().unwrap().to_owned())
            .collect()
    }
}

/// Returns a tenant with four heads of two lanes, and the bundles of both. Lane 0 goes on after the
/// last head.
fn tenant() -> (Tenant, [PathBuf; 2]) {
    let mut tenant = Tenant::new();
    for (lane, events) in [(0, 3), (1, 1), (0, 2), (1, 4)] {
        tenant.act(lane, events);
    }
    let list = tenant.list.clone();
    tenant.act(0, 1);
    tenant.list = list;
    let bundles = [0, 1].map(|lane| tenant.export(lane, &format!("lane-{lane}.json")));
    (tenant, bundles)
}

#[test]
fn the_heads_of_several_chains_are_verified_by_their_bundles() {
    let (tenant, bundles) = tenant();
    let text = tenant.verify(&tenant.list, &bundles, &[]).prints();
    assert_eq!(
        text,
        "verified: the heads are signed and agree with the chains, line by line\n  \
           acme-1: events 1 to 7, heads: 2\n  \
           acme-2: events 1 to 6, heads: 2\n"
    );
    let report = tenant.verify(&tenant.list, &bundles, &["--json"]).prints();
    let report: Value = serde_json::from_str(&report).unwrap();
    let places = report["heads"].as_array().unwrap().iter();
    let places: Vec<_> = places
        .map(|head| json!([head["line"], head["org_id"], head["sequence"]]))
        .collect();
    let expected = [
        json!([1, "acme-1", 4]),
        json!([2, "acme-2", 2]),
        json!([3, "acme-1", 6]),
        json!([4, "acme-2", 6]),
    ];
    assert_eq!(places, expected);
    assert_eq!(report["findings"], json!([]));
}

#[test]
fn a_head_with_an_invalid_signature_is_found() {
    let (tenant, bundles) = tenant();
    let mut list = tenant.list.clone();
    list[1] = list[1].replace("acme-2", "acme-1");
    let findings = tenant.findings(&list, &bundles);
    assert!(
        findings[0].starts_with("line 2: the signature of the head is not valid"),
        "{findings:?}"
    );
}

#[test]
fn lines_in_the_wrong_order_are_found() {
    let (tenant, bundles) = tenant();
    let mut list = tenant.list.clone();
    list.swap(0, 2);
    assert_eq!(
        tenant.findings(&list, &bundles),
        [
            "line 3: the head is at event 4 of `acme-1`, but the head in line 1 is at event 6: the \
             lines are not in the order in which the heads were taken"
        ]
    );
}

#[test]
fn a_rewritten_chain_is_found() {
    let (mut tenant, [first, _]) = tenant();
    let list = tenant.list.clone();
    // Another chain of the same organization and the same key, as long as the first one.
    tenant.lanes = Tenant::new().lanes;
    tenant.act(1, 5);
    let anew = tenant.export(1, "anew.json");
    let findings = tenant.findings(&list, &[first, anew]);
    assert_eq!(
        findings,
        [
            "line 2: the head does not match event 2 of `acme-2`",
            "line 4: the head does not match event 6 of `acme-2`"
        ]
    );
}

#[test]
fn a_missing_bundle_and_a_bundle_that_ends_too_early_are_found() {
    let mut tenant = Tenant::new();
    tenant.act(0, 1);
    let early = tenant.export(0, "early.json");
    tenant.act(0, 1);
    tenant.act(1, 1);
    let findings = tenant.findings(&tenant.list, &[early]);
    assert_eq!(
        findings,
        [
            "line 3: no bundle belongs to `acme-2`",
            "line 2: the head is at event 3, which the bundles of `acme-1` do not contain"
        ]
    );
}

#[test]
fn a_bundle_that_does_not_verify_and_a_line_without_a_head_are_refused() {
    let (tenant, [first, second]) = tenant();
    let text = fs::read_to_string(&first).unwrap();
    let changed = tenant.file("changed.json", &text.replacen("deploy", "delete", 1));
    let reason = tenant
        .verify(&tenant.list, &[changed, second.clone()], &[])
        .misuse();
    assert!(reason.contains("the trail is not verified"), "{reason}");

    let list = [tenant.list[0].clone(), String::new(), "{}".to_owned()];
    let reason = tenant
        .verify(&list, &[first.clone(), second.clone()], &[])
        .misuse();
    assert!(reason.contains("line 3: not a signed head: "), "{reason}");

    let reason = tenant.verify(&[], &[first, second], &[]).misuse();
    assert!(reason.contains("the list has no heads"), "{reason}");
}
