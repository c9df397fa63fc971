//! A nonce is claimed once, last, and with all others of its quorum or not at all.

use std::sync::Barrier;
use std::thread;

use atlasent::approval::{MemoryNonces, Nonce, Reason};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::case::{Case, Signer, faults, now};
use crate::quorum_case::{QuorumCase, quorum_faults};

fn nonce_of(person: &str) -> Nonce {
    let case = Case::numbered(0, person, Signer::Hs256([1; 32]), Signer::Ed25519([2; 32]));
    case.verify().unwrap().nonce
}

#[test]
fn an_approval_is_used_once() {
    let nonces = MemoryNonces::default();
    let claim = || {
        Case::new()
            .verify()
            .unwrap()
            .claim(|claimed| nonces.claim(claimed, now()))
    };
    assert_eq!(claim(), Ok(()));
    assert_eq!(claim(), Err(Reason::Replay));
}

#[test]
fn another_approval_with_the_same_nonce_is_a_replay() {
    let nonces = MemoryNonces::default();
    let mut case = Case::new();
    let claim = |case: &Case| case.verify()?.claim(|claimed| nonces.claim(claimed, now()));
    assert_eq!(claim(&case), Ok(()));
    case.artifact["expires_at"] = json!("2026-11-01T14:00:00Z");
    case.artifact["approval_id"] = json!("apr-9");
    case.with_assertion(|assertion| assertion["binding"]["approval_id"] = json!("apr-9"));
    assert_eq!(claim(&case), Err(Reason::Replay));
}

#[test]
fn organizations_have_nonces_of_their_own() {
    let nonces = MemoryNonces::default();
    let one = nonce_of("ada");
    let mut other = one.clone();
    other.tenant_id = "org-2".to_owned();
    assert!(nonces.claim(&[one.clone(), other.clone()], now()));
    assert!(!nonces.claim(&[one], now()) && !nonces.claim(&[other], now()));
}

#[test]
fn a_refusal_consumes_no_nonce() {
    for fault in faults() {
        let mut case = Case::new();
        (fault.1)(&mut case);
        let nonces = MemoryNonces::default();
        let claimed = case.verify().and_then(|verified| {
            // The only refusal after the verification is of a nonce that was claimed before.
            assert_eq!(fault.0, Reason::Replay);
            verified.claim(|_| false)
        });
        assert_eq!(claimed, Err(fault.0));
        assert!(nonces.claim(&[nonce_of("ada")], now()));
    }
    for (reason, change) in quorum_faults() {
        let mut case = QuorumCase::new();
        change(&mut case);
        assert!(
            case.verify().is_err() || reason == Reason::QuorumReplay,
            "{reason}"
        );
    }
}

#[test]
fn a_quorum_claims_all_of_its_nonces_or_none() {
    let nonces = MemoryNonces::default();
    let quorum = QuorumCase::new().verify().unwrap();
    assert!(nonces.claim(&[nonce_of("carol")], now()));
    let claim = || quorum.claim(|claimed| nonces.claim(claimed, now()));
    assert_eq!(claim(), Err(Reason::QuorumReplay));
    // The nonces of ada and bob are still free.
    assert!(nonces.claim(&[nonce_of("ada"), nonce_of("bob")], now()));
}

#[test]
fn a_nonce_that_stands_twice_in_a_quorum_is_a_replay() {
    let mut case = QuorumCase::new();
    case.entries[2].artifact["nonce"] = json!("nonce-ada");
    assert_eq!(case.verify().err(), Some(Reason::QuorumReplay));
    let ada = nonce_of("ada");
    assert!(!MemoryNonces::default().claim(&[ada.clone(), ada], now()));
}

#[test]
fn of_many_claims_at_once_one_succeeds() {
    for _ in 0..20 {
        let nonces = MemoryNonces::default();
        let (quorum, single) = (
            QuorumCase::new().verify().unwrap(),
            Case::new().verify().unwrap(),
        );
        let barrier = Barrier::new(16);
        let claims: Vec<bool> = thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|index| {
                    let (nonces, quorum, single, barrier) = (&nonces, &quorum, &single, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let claim = |claimed: &[Nonce]| nonces.claim(claimed, now());
                        match index % 2 {
                            0 => quorum.claim(claim).is_ok(),
                            _ => single.claim(claim).is_ok(),
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        // The approval is one of the quorum.
        assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
    }
}

#[test]
fn a_nonce_is_kept_until_its_approval_expires_and_is_never_free_again() {
    let nonces = MemoryNonces::with_capacity(2);
    let (ada, bob, carol) = (nonce_of("ada"), nonce_of("bob"), nonce_of("carol"));
    let expiry = ada.expires_at;
    assert!(nonces.claim(&[ada.clone(), bob], now()));
    // There is no room for a third one, and a refused claim takes none.
    assert!(!nonces.claim(std::slice::from_ref(&carol), now()));
    assert!(!nonces.claim(
        std::slice::from_ref(&ada),
        expiry - SignedDuration::from_nanos(1)
    ));
    let mut later = carol.clone();
    later.expires_at = expiry + SignedDuration::from_hours(1);
    assert!(nonces.claim(std::slice::from_ref(&later), expiry));
    // The clock is set back: what was forgotten stays refused.
    for time in [expiry, now(), Timestamp::UNIX_EPOCH] {
        assert!(!nonces.claim(std::slice::from_ref(&ada), time));
        assert!(!nonces.claim(std::slice::from_ref(&later), time));
    }
}
