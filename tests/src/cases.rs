//! Lists the answers of an authority, and what each answer means.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

use atlasent::Decision;
use atlasent::error::{Code, PermitOutcome};
use atlasent::testing::Reply;
use atlasent::wire::{Evaluation, PermitToken, Verification};

/// The action of the answers.
pub const ACTION: &str = "deploy.production";
/// The agent of the answers.
pub const AGENT: &str = "deploy-bot";
/// The token of the permits in the answers.
pub const TOKEN: &str = "permit_2f9d4c8b7a6e5f10";

const CODES: [Code; 8] = [
    Code::InvalidApiKey,
    Code::Forbidden,
    Code::RateLimited,
    Code::BadRequest,
    Code::ServerError,
    Code::Timeout,
    Code::Network,
    Code::BadResponse,
];

const OUTCOMES: [PermitOutcome; 4] = [
    PermitOutcome::Consumed,
    PermitOutcome::Expired,
    PermitOutcome::Revoked,
    PermitOutcome::NotFound,
];

/// One reply, and what it means.
#[derive(Debug)]
pub struct Case<T> {
    /// The name of the case in failures.
    pub name: String,
    /// The reply.
    pub reply: Reply<T>,
    /// The meaning of the reply.
    pub says: Says,
}

/// The meaning of a reply by the contract. It is written down for each case, and never computed by
/// the code under test.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// The answer allows.
    Yes,
    /// The answer refuses.
    No(Refusal),
    /// The call fails with this code.
    Fails(Code),
    /// The authority panics.
    Panics,
    /// The authority never answers.
    Never,
}

/// The parts that a refusal must have.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The decision.
    pub decision: Decision,
    /// The beginning of the reason.
    pub reason: String,
    /// The code for programs.
    pub code: Option<String>,
    /// The outcome of the permit.
    pub outcome: Option<PermitOutcome>,
}

/// Returns the meaning of two answers together: the first one that does not allow, if any.
#[must_use]
pub fn both<'a>(evaluate: &'a Says, verify: &'a Says) -> &'a Says {
    match evaluate {
        Says::Yes => verify,
        other => other,
    }
}

fn token(text: &str) -> Option<PermitToken> {
    Some(PermitToken::new(text).unwrap())
}

/// Failures that any call can have.
fn no_answers<T>() -> Vec<Case<T>> {
    let mut cases: Vec<Case<T>> = CODES
        .into_iter()
        .map(|code| Case {
            name: format!("fails with {code}"),
            reply: Reply::Fail(code),
            says: Says::Fails(code),
        })
        .collect();
    cases.push(Case {
        name: "panics".into(),
        reply: Reply::Panic,
        says: Says::Panics,
    });
    cases.push(Case {
        name: "never answers".into(),
        reply: Reply::Never,
        says: Says::Never,
    });
    cases
}

/// Returns the answers to an evaluation.
#[must_use]
pub fn evaluations() -> Vec<Case<Evaluation>> {
    let mut cases = no_answers();
    let mut add = |name: String, answer: Evaluation, says: Says| {
        cases.push(Case {
            name,
            reply: Reply::Answer(answer),
            says,
        });
    };

    let mut allow = Evaluation::allow(PermitToken::new(TOKEN).unwrap());
    allow.audit_hash = Some("a0".into());
    add("allow".into(), allow, Says::Yes);
    for (name, none) in [("no", None), ("an empty", token(""))] {
        let mut evaluation = Evaluation::new(Decision::Allow);
        evaluation.permit_token = none;
        let says = Says::Fails(Code::BadResponse);
        add(format!("allow with {name} token"), evaluation, says);
    }

    for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
        for (name, token) in [
            ("no", None),
            ("an empty", token("")),
            ("a good", token(TOKEN)),
        ] {
            for wording in [None, Some(("not on a Friday", "FRIDAY"))] {
                let mut evaluation = Evaluation::new(decision);
                evaluation.permit_token = token.clone();
                evaluation.reason = wording.map(|(reason, _)| reason.into());
                evaluation.code = wording.map(|(_, code)| code.into());
                let refusal = Refusal {
                    decision,
                    reason: wording
                        .map_or("the authority gave no reason", |w| w.0)
                        .into(),
                    code: wording.map(|(_, code)| code.into()),
                    outcome: None,
                };
                let name = format!("{decision} with {name} token, worded {wording:?}");
                add(name, evaluation, Says::No(refusal));
            }
        }
    }
    cases
}

/// Returns the answers to a verification.
#[must_use]
pub fn verifications() -> Vec<Case<Verification>> {
    let mut cases = no_answers();
    cases.extend(genuine().into_iter().map(|answer| Case {
        name: format!("good {answer:?}"),
        reply: Reply::Answer(answer),
        says: Says::Yes,
    }));
    cases.extend(refusing().into_iter().map(|answer| {
        let word = match (&answer.outcome, &answer.verify_error_code) {
            (Some(word), _) if !["allow", "verified", ""].contains(&&**word) => Some(&**word),
            (None, Some(word)) if !word.is_empty() => Some(word.as_str()),
            _ => None,
        };
        let known = |word: Option<&str>| {
            let word = word?;
            let at = [
                ["permit_consumed", "PERMIT_ALREADY_USED"],
                ["permit_expired", "PERMIT_EXPIRED"],
                ["permit_revoked", "PERMIT_REVOKED"],
                ["permit_not_found", "PERMIT_NOT_FOUND"],
            ];
            let at = at.iter().position(|words| words.contains(&word))?;
            Some(OUTCOMES[at])
        };
        Case {
            name: format!("bad {answer:?}"),
            says: Says::No(Refusal {
                decision: Decision::Deny,
                reason: match word {
                    Some(word) => format!("Permit failed verification ({word})"),
                    None => "Permit failed verification (".into(),
                },
                code: answer.verify_error_code.clone(),
                outcome: known(answer.outcome.as_deref())
                    .or_else(|| known(answer.verify_error_code.as_deref())),
            }),
            reply: Reply::Answer(answer),
        }
    }));
    cases
}

/// Valid answers without contradictions.
fn genuine() -> Vec<Verification> {
    let mut answers = Vec::new();
    for outcome in [None, Some("allow"), Some("verified")] {
        for echoed in [false, true] {
            let mut answer = valid();
            answer.outcome = outcome.map(Into::into);
            answer.permit_hash = Some("f0".into());
            if echoed {
                answer.decision = Some("allow".into());
                answer.action_type = Some(ACTION.into());
                answer.actor_id = Some(AGENT.into());
            }
            answers.push(answer);
        }
    }
    answers
}

/// Answers that are not valid, or contradict themselves or the request.
fn refusing() -> Vec<Verification> {
    let mut answers = Vec::new();
    let words = [
        "permit_consumed",
        "permit_expired",
        "permit_revoked",
        "permit_not_found",
        "deny",
        "permit_eaten",
        "",
    ];
    let codes = [
        "PERMIT_ALREADY_USED",
        "PERMIT_EXPIRED",
        "PERMIT_REVOKED",
        "PERMIT_NOT_FOUND",
        "ACTOR_MISMATCH",
        "",
    ];
    let some = |words: &[&str]| -> Vec<Option<String>> {
        let words = words.iter().map(|word| Some((*word).to_owned()));
        std::iter::once(None).chain(words).collect()
    };

    // Not valid, with any other fields.
    for outcome in some(&[&words[..], &["allow", "verified"]].concat()) {
        for code in some(&codes) {
            let mut answer = Verification::default();
            answer.outcome = outcome.clone().map(Into::into);
            answer.verify_error_code = code;
            answer.decision = outcome.is_none().then(|| "allow".into());
            answers.push(answer);
        }
    }
    // Valid, with a contradicting outcome.
    for word in words.into_iter().chain(twisted("allow")).chain(["verify"]) {
        let mut answer = valid();
        answer.outcome = Some(word.into());
        answers.push(answer);
    }
    // Valid, but not consumed.
    for outcome in [None, Some("allow"), Some("verified")] {
        let mut answer = valid();
        answer.outcome = outcome.map(Into::into);
        answer.consumed = Some(false);
        answers.push(answer);
    }
    // Valid, with an error code.
    for code in codes {
        for outcome in [None, Some("allow".into())] {
            let mut answer = valid();
            answer.outcome = outcome;
            answer.verify_error_code = Some(code.into());
            answers.push(answer);
        }
    }
    // Valid, for another decision, action or agent.
    for decision in twisted("allow").chain(["deny", "hold", "escalate", "verified"]) {
        let mut answer = valid();
        answer.decision = Some(decision.into());
        answers.push(answer);
    }
    for action in twisted(ACTION).chain([AGENT]) {
        let mut answer = valid();
        answer.action_type = Some(action.into());
        answers.push(answer);
    }
    for agent in twisted(AGENT).chain([ACTION]) {
        let mut answer = valid();
        answer.actor_id = Some(agent.into());
        answers.push(answer);
    }
    answers
}

fn valid() -> Verification {
    let mut answer = Verification::default();
    answer.valid = true;
    answer
}

/// Texts that are similar to `word`.
fn twisted(word: &'static str) -> impl Iterator<Item = &'static str> {
    let twisted: [&'static str; 9] = match word {
        "allow" => [
            "", "ALLOW", "Allow", "allo", "llow", "allowed", "allow ", " allow", "allow\0",
        ],
        ACTION => [
            "",
            "DEPLOY.PRODUCTION",
            "Deploy.production",
            "deploy.productio",
            "eploy.production",
            "deploy.production.eu",
            "deploy.production ",
            " deploy.production",
            "deploy.production\0",
        ],
        _ => [
            "",
            "DEPLOY-BOT",
            "Deploy-bot",
            "deploy-bo",
            "eploy-bot",
            "deploy-bot-2",
            "deploy-bot ",
            " deploy-bot",
            "deploy-bot\0",
        ],
    };
    twisted.into_iter()
}
