//! `atlasent audit verify`, on exports that the embedded authority signed.

mod keys;

use std::fs;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use atlasent::audit::Event;
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{ChainHead, NewEvent};
use atlasent_authority::trail::BundleWriter;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent};

/// An export and the keys that verify it, written to files on demand.
struct Exported {
    folder: TempDir,
    ring: KeyRing,
    text: String,
}

/// Returns the first events of a chain. Chains with the same `history` have the same hashes.
fn events(org_id: &str, count: u64, history: &str) -> Vec<Event> {
    let mut head = ChainHead::genesis(org_id);
    (0..count)
        .map(|second| {
            let mut event = NewEvent::new("evaluate.allow").with("reason", "ü \"quoted\" \u{2028}");
            event.id = format!("{history}-{second}").into();
            let time = Timestamp::from_second(1_800_000_000 + second as i64).unwrap();
            head.seal(event, time).to_event().unwrap()
        })
        .collect()
}

/// Exports every `step`th of the first `count` events.
fn export(count: u64, step: usize) -> Exported {
    let events = events("local", count, "a");
    sign("local", events.iter().step_by(step))
}

/// Exports a range of the events of a chain.
fn export_of(
    org_id: &str,
    chain: RangeInclusive<u64>,
    stretch: RangeInclusive<u64>,
    history: &str,
) -> Exported {
    let events = events(org_id, *chain.end(), history);
    let stretch = events
        .iter()
        .filter(|event| stretch.contains(&event.envelope.sequence));
    sign(org_id, stretch)
}

fn sign<'a>(org_id: &str, events: impl Iterator<Item = &'a Event>) -> Exported {
    let ring = KeyRing::in_memory().unwrap();
    let mut writer = BundleWriter::new();
    for event in events {
        writer.push(event).unwrap();
    }
    let bundle = writer.finish(org_id, ring.active(), Timestamp::now());
    let mut text = String::new();
    bundle.unwrap().read_to_string(&mut text).unwrap();
    Exported {
        folder: tempfile::tempdir().unwrap(),
        ring,
        text,
    }
}

impl Exported {
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn bundle(&self) -> PathBuf {
        self.file("export.json", &self.text)
    }

    fn pem(&self) -> PathBuf {
        self.file("key.pem", self.ring.active().public_key_pem())
    }

    fn answer(&self) -> PathBuf {
        let answer = json!({ "keys": self.ring.public_keys() });
        self.file("keys.json", &answer.to_string())
    }

    fn field(&self, sequence: u64, name: &str) -> String {
        let bundle: Value = serde_json::from_str(&self.text).unwrap();
        let mut events = bundle["events"].as_array().unwrap().iter();
        let event = events.find(|event| event["sequence"] == sequence).unwrap();
        event[name].as_str().unwrap().to_owned()
    }

    fn hash(&self, sequence: u64) -> String {
        self.field(sequence, "hash")
    }

    fn previous_hash(&self, sequence: u64) -> String {
        self.field(sequence, "previous_hash")
    }

    fn key_id(&self) -> String {
        self.ring.active().key_id().to_owned()
    }
}

fn verify(bundle: &Path, more: &[&str]) -> Atlasent {
    let bundle = bundle.to_str().unwrap();
    atlasent([&["audit", "verify", bundle], more].concat())
}

fn with_key(bundle: &Path, key: &Path, more: &[&str]) -> Atlasent {
    verify(bundle, &[&["--key", key.to_str().unwrap()], more].concat())
}

fn json(text: &str) -> Value {
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_export_is_verified_with_the_public_key_alone() {
    let exported = export(3, 1);
    let text = with_key(&exported.bundle(), &exported.pem(), &[]).prints();
    assert_eq!(
        text,
        format!(
            "verified: signed by a trusted key, and intact\n  \
               events:    3, from 2027-01-15T08:00:00Z to 2027-01-15T08:00:02Z\n  \
               chain:     intact\n  \
               signature: valid, by the key `pem_0`\n  \
               begins:    event 1, the start of the chain\n  \
               ends:      event 3, hash {}\n",
            exported.hash(3)
        )
    );
    let piped = atlasent([
        "audit",
        "verify",
        "-",
        "--key",
        exported.pem().to_str().unwrap(),
    ]);
    assert_eq!(piped.stdin(exported.text.clone()).prints(), text);
}

#[test]
fn the_server_s_answer_names_the_key() {
    let exported = export(3, 1);
    let report = json(&with_key(&exported.bundle(), &exported.answer(), &["--json"]).prints());
    assert_eq!(
        report,
        json!({
            "verified": true, "intact": true, "chain_integrity_ok": true, "signature_valid": true,
            "head_hash_matches": true, "matched_key_id": exported.key_id(), "tampered_event_ids": [],
            "reason": null, "events": 3, "first_at": "2027-01-15T08:00:00Z", "last_at": "2027-01-15T08:00:02Z",
            "org_id": "local", "begins_at_genesis": true,
            "first": { "sequence": 1, "hash": exported.hash(1), "previous_hash": "0".repeat(64) },
            "last": { "sequence": 3, "hash": exported.hash(3), "previous_hash": exported.hash(2) },
            "findings": [], "findings_total": 0, "keys_left_out": [],
        })
    );
}

#[test]
fn a_trail_without_its_oldest_events_is_told_from_a_whole_one() {
    let exported = export_of("local", 1..=5, 3..=5, "a");
    let text = with_key(&exported.bundle(), &exported.pem(), &[]).prints();
    let begins = format!(
        "begins:    event 3, without events 1 to 2, previous hash {}\n",
        exported.previous_hash(3)
    );
    assert!(text.contains(&begins), "{text}");
    let report = json(&with_key(&exported.bundle(), &exported.pem(), &["--json"]).prints());
    assert_eq!(report["begins_at_genesis"], false);
    assert_eq!(report["first"]["sequence"], 3);
}

/// Compares a bundle with an older one. Returns whether it continues that, and the relation.
fn after(new: &Exported, old: &Exported) -> (bool, String) {
    let keys = [
        old.file("old.pem", old.ring.active().public_key_pem()),
        new.pem(),
    ];
    let keys = keys.map(|key| key.to_str().unwrap().to_owned());
    let old = old.bundle();
    let arguments = [
        "--key",
        &keys[0],
        "--after",
        old.to_str().unwrap(),
        "--json",
    ];
    let ended = with_key(&new.bundle(), Path::new(&keys[1]), &arguments).run();
    let report = json(&ended.stdout);
    let after = &report["after"];
    assert_eq!(ended.code == 0, after["continues"] == true);
    (
        after["continues"].as_bool().unwrap(),
        after["relation"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn a_bundle_continues_an_older_one_by_overlap_or_adjacency() {
    let old = export_of("local", 1..=6, 1..=6, "a");
    for (new, relation) in [
        (1..=9, "contains the event of the head"),
        (4..=9, "contains the event of the head"),
        (1..=6, "contains the event of the head"),
        (7..=9, "begins right after the head"),
    ] {
        let (continues, relation_text) = after(&export_of("local", 1..=9, new.clone(), "a"), &old);
        assert!(
            continues && relation_text.contains(relation),
            "{new:?}: {relation_text}"
        );
    }
    for (org, new, history, why) in [
        (
            "local",
            8..=9,
            "a",
            "event 7, between the head and the trail",
        ),
        ("local", 1..=5, "a", "ends at event 5, before the head"),
        (
            "local",
            1..=9,
            "b",
            "a different event, or a gap, at the position of the head",
        ),
        (
            "local",
            7..=9,
            "b",
            "a different event, or a gap, at the position of the head",
        ),
        (
            "other",
            1..=9,
            "a",
            "the bundle belongs to another organization",
        ),
    ] {
        let (continues, relation_text) = after(&export_of(org, 1..=9, new.clone(), history), &old);
        assert!(
            !continues && relation_text.contains(why),
            "{new:?}: {relation_text}"
        );
    }
}

#[test]
fn an_older_bundle_that_does_not_verify_is_not_compared_with() {
    let (new, old) = (export(5, 1), export(3, 1));
    let broken = old.file(
        "broken.json",
        &old.text.replacen("evaluate.allow", "evaluate.deny", 1),
    );
    let empty = export(0, 1);
    let arguments = |old: &Path| ["--after".to_owned(), old.to_str().unwrap().to_owned()];
    for (old, why) in [
        (broken, "does not verify, so the bundle cannot be compared"),
        (
            empty.bundle(),
            "has no events, so the bundle cannot be compared",
        ),
    ] {
        let arguments = arguments(&old);
        let arguments = [&*arguments[0], &arguments[1], "--chain-only"];
        let reason = verify(&new.bundle(), &arguments).refusal();
        assert!(reason.contains(why), "{reason}");
    }
    let not_a_head = new.file("head.json", "{}");
    let reason = verify(
        &new.bundle(),
        &[
            "--chain-only",
            "--expect-head",
            not_a_head.to_str().unwrap(),
        ],
    )
    .misuse();
    assert!(reason.contains("not a signed head: "), "{reason}");
}

#[test]
fn a_change_is_reported_with_exit_code_1() {
    let exported = export(3, 1);
    let changed = exported.text.replacen("quoted", "forged", 1);
    let bundle = exported.file("changed.json", &changed);
    let text = with_key(&bundle, &exported.pem(), &[]).finds();
    assert!(
        text.starts_with(
            "not verified: signature did not verify under any of 1 configured public key(s)\n"
        ),
        "{text}"
    );
    assert!(text.contains("  findings:  1\n    event 1 (`"), "{text}");
    assert!(text.contains("the hash does not fit the payload"), "{text}");
    let report = json(&with_key(&bundle, &exported.pem(), &["--json"]).finds());
    assert_eq!(report["tampered_event_ids"].as_array().unwrap().len(), 1);
    assert_eq!(
        report["findings"][0]["problem"],
        "the hash does not fit the payload"
    );
    verify(&bundle, &["--chain-only"]).finds();
}

#[test]
fn an_extract_is_not_verified_however_good_its_signature() {
    let exported = export(100, 2);
    let text = with_key(&exported.bundle(), &exported.pem(), &[]).finds();
    assert!(
        text.starts_with("not verified: hash mismatch for 49 event(s)\n"),
        "{text}"
    );
    assert!(
        text.contains("signature: valid, by the key `pem_0`"),
        "{text}"
    );
    // Each of 49 events breaks the link, the hash and the sequence; the last finding is the
    // exporter's.
    let (_, findings) = text.split_once("findings:  148\n").expect(&text);
    assert_eq!(findings.lines().count(), 21);
    assert!(findings.ends_with("    and 128 more\n"), "{text}");
}

#[test]
fn a_bundle_whose_findings_no_hash_covers_is_verified_and_not_intact() {
    let exported = export(2, 1);
    let bundle: Value = serde_json::from_str(&exported.text).unwrap();
    let mut writer = BundleWriter::new();
    for event in bundle["events"].as_array().unwrap() {
        let mut event: Event = serde_json::from_value(event.clone()).unwrap();
        event.envelope.actor_id = Some("somebody-else".to_owned());
        writer.push(&event).unwrap();
    }
    let signed = writer.finish("local", exported.ring.active(), Timestamp::now());
    let mut text = String::new();
    signed.unwrap().read_to_string(&mut text).unwrap();
    let bundle = exported.file("contradictory.json", &text);
    let text = with_key(&bundle, &exported.pem(), &[]).finds();
    assert!(
        text.starts_with(
            "not intact: the signature and the hashes are valid, but there are findings\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("a field of the envelope contradicts the payload"),
        "{text}"
    );
    let report = json(&with_key(&bundle, &exported.pem(), &["--json"]).finds());
    assert_eq!(
        (&report["verified"], &report["intact"]),
        (&json!(true), &json!(false))
    );
    verify(&bundle, &["--chain-only"]).finds();
}

#[test]
fn control_characters_in_a_bundle_are_escaped() {
    let exported = export(2, 1);
    let id = serde_json::from_str::<Value>(&exported.text).unwrap()["events"][0]["id"].clone();
    let hostile = exported
        .text
        .replace(id.as_str().unwrap(), "\\u001b[2J\\u202e\\nverified: ");
    let bundle = exported.file("hostile.json", &hostile);
    for more in [&[][..], &["--json"]] {
        let text = with_key(&bundle, &exported.pem(), more).finds();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(
            text.lines().skip(1).all(|line| line.starts_with("  ")),
            "{text}"
        );
    }
}

#[test]
fn an_unreadable_bundle_is_misuse_and_gets_no_verdict() {
    let exported = export(2, 1);
    let cut = exported.file("cut.json", &exported.text[..exported.text.len() / 2]);
    let noise = exported.file("noise.json", "hunter2");
    let folder = exported.folder.path().to_owned();
    for bundle in [cut, noise, folder.join("missing.json"), folder] {
        with_key(&bundle, &exported.pem(), &[]).misuse();
        verify(&bundle, &["--chain-only", "--json"]).misuse();
    }
    verify(Path::new("-"), &["--chain-only"]).misuse();
}

#[test]
fn a_large_bundle_draws_no_bar_in_a_log() {
    let exported = export(12_000, 1);
    assert!(exported.text.len() > 6_000_000);
    with_key(&exported.bundle(), &exported.pem(), &[]).prints();
}
