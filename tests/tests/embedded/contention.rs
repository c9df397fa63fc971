//! Tests concurrent use: only one holder of a permit can use it.

use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::thread;

use atlasent::error::PermitOutcome;
use atlasent::wire::{PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, AuthorityExt, Error, blocking};
use atlasent_authority::LocalAuthority;
use atlasent_tests::{Ran, yields};

use crate::support::{AGENT, action, deploy, deploy_sync, now, permit_all, request};

const CONTENDERS: usize = 64;
const ROUNDS: usize = 8;

fn authority() -> Arc<LocalAuthority> {
    Arc::new(LocalAuthority::in_memory(permit_all()).unwrap())
}

fn issue(authority: &LocalAuthority) -> PermitToken {
    now(authority.evaluate(&request())).permit_token.unwrap()
}

fn one_passed(answers: &[Verification]) {
    assert_eq!(answers.len(), CONTENDERS);
    let valid = answers.iter().filter(|answer| answer.valid).count();
    let used = answers
        .iter()
        .filter(|answer| !answer.valid && answer.permit_outcome() == Some(PermitOutcome::Consumed))
        .count();
    assert_eq!((valid, used), (1, CONTENDERS - 1));
}

/// Runs `call` on several threads at once, and returns the results.
fn on_threads<T: Send>(call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(CONTENDERS);
    thread::scope(|scope| {
        let contenders: Vec<_> = (0..CONTENDERS)
            .map(|number| {
                let (start, call) = (&start, &call);
                scope.spawn(move || {
                    start.wait();
                    call(number)
                })
            })
            .collect();
        contenders.into_iter().map(|c| c.join().unwrap()).collect()
    })
}

#[test]
fn of_many_threads_with_one_permit_one_passes() {
    let authority = authority();
    for _ in 0..ROUNDS {
        let question = VerifyRequest::restating(&request(), issue(&authority));
        let answers = on_threads(|_| blocking::wait(authority.verify(&question)).unwrap());
        one_passed(&answers);
    }
    assert!(now(authority.trail()).verify().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_tasks_with_one_permit_one_passes() {
    let authority = authority();
    for _ in 0..ROUNDS {
        let question = VerifyRequest::restating(&request(), issue(&authority));
        let tasks: Vec<_> = (0..CONTENDERS)
            .map(|number| {
                let (authority, question) = (Arc::clone(&authority), question.clone());
                tokio::spawn(async move {
                    yields(number % 3).await;
                    authority.verify(&question).await
                })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap().unwrap());
        }
        one_passed(&answers);
    }
    assert!(authority.trail().await.unwrap().verify().is_intact());
}

#[test]
fn a_permit_is_either_used_or_revoked() {
    let authority = authority();
    for _ in 0..ROUNDS {
        let token = issue(&authority);
        let question = VerifyRequest::restating(&request(), token.clone());
        let won = on_threads(|number| {
            if number % 2 == 0 {
                blocking::wait(authority.verify(&question)).unwrap().valid
            } else {
                let revocation = blocking::wait(authority.revoke(&token, "race"));
                revocation.unwrap().revoked
            }
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
    }
    assert!(now(authority.trail()).verify().is_intact());
}

#[test]
fn bodies_that_run_at_once_have_a_permit_each() {
    let authority = authority();
    let ran = Ran::new();
    let ids = on_threads(|number| {
        match number % 4 {
            0 => blocking::wait(deploy(&authority, &ran))?,
            1 => deploy_sync(&authority, &ran)?,
            _ => ran.hit(),
        }
        let permit = blocking::protect(&authority, AGENT, action())?;
        Ok::<_, Error>(permit.id().to_owned())
    });
    let ids: HashSet<String> = ids.into_iter().map(Result::unwrap).collect();
    assert_eq!((ids.len(), ran.count()), (CONTENDERS, CONTENDERS));

    let trail = now(authority.trail());
    assert!(trail.verify().is_intact());
    let count = |kind: &str| {
        let of_kind = trail.events.iter().filter(|e| e.envelope.kind == kind);
        of_kind.count()
    };
    let asked = CONTENDERS + CONTENDERS / 2;
    assert_eq!(count("evaluate.allow"), asked);
    assert_eq!(count("permit.verified"), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_blocking_face_works_inside_a_runtime() {
    let authority = authority();
    let ran = Arc::new(Ran::new());
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let (authority, ran) = (Arc::clone(&authority), Arc::clone(&ran));
            tokio::spawn(async move { deploy_sync(&authority, &ran) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let permit = authority.protect(AGENT, action()).await.unwrap();
    assert_eq!(permit.agent().as_str(), AGENT);
    assert_eq!(ran.count(), CONTENDERS);
}
