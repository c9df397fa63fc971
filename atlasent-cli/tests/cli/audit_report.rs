//! `atlasent audit report`: the story of each permit of a verified trail.

use std::fs;
use std::io::Read;

use atlasent::{AnyAction, AuthorityExt, Error};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent};

/// A signed trail in a folder: a completed body, a failed one, a permit that was used and never
/// ended, one that was not used, and a denial.
struct Reported {
    folder: TempDir,
    ids: Vec<String>,
}

impl Reported {
    async fn new() -> Self {
        let policies = Policies::parse(
            r#"@id("all") permit (principal, action == Action::"deploy", resource);"#,
        );
        let authority = LocalAuthority::in_memory(policies.unwrap()).unwrap();
        let action = || {
            AnyAction::new("deploy")
                .unwrap()
                .with_resource("api\u{1b}[2J")
        };
        let mut ids = Vec::new();
        for fails in [false, true] {
            let body = async |permit: atlasent::Permit| {
                ids.push(permit.id().to_owned());
                match fails {
                    false => Ok(()),
                    true => Err(Error::Invalid("card 4111".to_owned())),
                }
            };
            let _ = authority.with_permit("bot", action(), body).await;
        }
        let used = authority.protect("bot", action()).await.unwrap();
        ids.push(used.id().to_owned());
        let request = atlasent::wire::EvaluateRequest::new(used.agent().clone(), &action());
        let unused = atlasent::Authority::evaluate(&authority, &request.unwrap()).await;
        ids.push(unused.unwrap().permit_id.unwrap());
        let denied = AnyAction::new("drop").unwrap();
        assert!(authority.protect("bot", denied).await.is_err());

        let ring = KeyRing::in_memory().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut bundle = String::new();
        let exported = authority.export(&EventFilter::default(), &ring).await;
        exported.unwrap().read_to_string(&mut bundle).unwrap();
        fs::write(folder.path().join("bundle.json"), bundle).unwrap();
        fs::write(
            folder.path().join("key.pem"),
            ring.active().public_key_pem(),
        )
        .unwrap();
        Self { folder, ids }
    }

    fn report(&self, more: &[&str]) -> Atlasent {
        let path = |name| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (bundle, key) = (path("bundle.json"), path("key.pem"));
        atlasent([&["audit", "report", &*bundle, "--key", &*key], more].concat())
    }

    fn json(&self, more: &[&str]) -> Value {
        let text = self.report(&[&["--json"], more].concat()).prints();
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test]
async fn each_permit_has_its_story_from_the_question_to_the_end() {
    let reported = Reported::new().await;
    let report = reported.json(&[]);
    let permits = report["permits"].as_array().unwrap();
    let told: Vec<_> = permits
        .iter()
        .map(|story| {
            (
                story["permit_id"].as_str().unwrap(),
                story["end"].as_str().unwrap(),
            )
        })
        .collect();
    let ends = ["completed", "failed", "never_ended", "unused"];
    let expected: Vec<_> = reported.ids.iter().map(String::as_str).zip(ends).collect();
    assert_eq!(told, expected);
    let kinds = |story: &Value| -> Vec<String> {
        let steps = story["steps"].as_array().unwrap().iter();
        steps
            .map(|step| step["type"].as_str().unwrap().to_owned())
            .collect()
    };
    let whole = ["evaluate.allow", "permit.verified", "permit.completed"];
    assert_eq!(kinds(&permits[0]), whole);
    assert_eq!(kinds(&permits[3]), ["evaluate.allow"]);
    assert!(permits[0]["steps"][2]["details"]["duration_ms"].is_string());
    assert_eq!(permits[0]["action"], "deploy");
    assert_eq!(report["counts"]["permits"], 4);
    assert_eq!(report["never_ended"], serde_json::json!([reported.ids[2]]));
}

#[tokio::test]
async fn the_text_names_the_permits_that_were_used_and_never_ended() {
    let reported = Reported::new().await;
    let text = reported.report(&[]).prints();
    let id = &reported.ids[2];
    assert!(
        text.contains(
            "4 permits: 1 completed, 1 failed, 0 cancelled, 1 unused, 1 used and never ended\n"
        ),
        "{text}"
    );
    let listed = text.split("used and never ended:\n").last().unwrap();
    assert!(
        listed.starts_with(&format!("  {id} deploy by bot on api")),
        "{text}"
    );
    assert!(text.contains("event 4  permit.completed  "), "{text}");
    // A resource that drives the terminal is escaped.
    assert!(!text.contains('\u{1b}'), "{text}");

    let unended = reported.json(&["--unended"]);
    assert_eq!(unended["permits"].as_array().unwrap().len(), 1);
    assert_eq!(unended["counts"]["permits"], 4);
}

#[tokio::test]
async fn one_permit_is_found_by_its_id() {
    let reported = Reported::new().await;
    let report = reported.json(&["--permit", &reported.ids[1]]);
    assert_eq!(report["permits"][0]["end"], "failed");
    assert_eq!(report["counts"]["permits"], 1);
    let unknown = reported.report(&["--permit", "pt_1"]).misuse();
    assert!(unknown.contains("has no permit `pt_1`"), "{unknown}");
}

#[tokio::test]
async fn a_trail_that_is_not_verified_is_not_reported() {
    let reported = Reported::new().await;
    let path = reported.folder.path().join("bundle.json");
    let forged = fs::read_to_string(&path)
        .unwrap()
        .replace("permit.failed", "permit.completed");
    fs::write(&path, forged).unwrap();
    let error = reported.report(&[]).misuse();
    assert!(error.contains("the trail is not verified"), "{error}");
}
