//! The `action` argument: a literal, or any expression whose type is an action.
#![deny(warnings)]

mod support;

use std::borrow::Cow;

use atlasent::testing::MockAuthority;
use atlasent::{Action, AnyAction, Error, NamedAction, Permit, protect};
use futures_executor::block_on;
use serde_json::json;
use support::{asked, refused};

#[derive(Action)]
#[action("flush")]
struct Flush;

#[derive(Action)]
#[action("modify_patient_record")]
struct Modify {
    #[action(resource)]
    patient: String,
    reason: String,
}

impl Modify {
    fn routine(patient: &str) -> Self {
        Self {
            patient: patient.into(),
            reason: "routine".into(),
        }
    }
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn literal(authority: &MockAuthority, permit: Permit) -> Result<AnyAction, Error> {
    Ok(permit.into_action())
}

#[protect(action = Flush, agent = "bot", authority = authority)]
async fn unit(authority: &MockAuthority, permit: Permit<Flush>) -> Result<Flush, Error> {
    Ok(permit.into_action())
}

#[protect(action = Modify { patient, reason: reason.to_uppercase() }, agent = patient, authority = authority)]
async fn fields(
    authority: &MockAuthority,
    patient: String,
    reason: &str,
    permit: Permit<Modify>,
) -> Result<String, Error> {
    Ok(format!("{} {}", permit.patient, permit.reason))
}

#[protect(action = Modify { patient: "p7".into(), ..Modify::routine("") }, agent = "bot", authority = authority)]
fn update(authority: &MockAuthority, permit: Permit<Modify>) -> Result<String, Error> {
    Ok(permit.patient.clone())
}

#[protect(action = modify, agent = "bot", authority = authority)]
async fn variable(
    authority: &MockAuthority,
    modify: Modify,
    permit: Permit<Modify>,
) -> Result<String, Error> {
    Ok(permit.into_action().patient)
}

#[protect(action = Modify::routine(patient), agent = "bot", authority = authority)]
async fn call(
    authority: &MockAuthority,
    patient: &str,
    permit: Permit<Modify>,
) -> Result<String, Error> {
    Ok(permit.into_action().reason)
}

#[protect(
    action = if urgent { Modify::routine("a") } else { Modify::routine("b") },
    agent = "bot",
    authority = authority
)]
async fn branch(
    authority: &MockAuthority,
    urgent: bool,
    permit: Permit<Modify>,
) -> Result<String, Error> {
    Ok(permit.into_action().patient)
}

#[protect(action = action, agent = "bot", authority = authority)]
async fn any(
    authority: &MockAuthority,
    action: AnyAction,
    permit: Permit,
) -> Result<String, Error> {
    Ok(permit.record().action.into_owned())
}

#[protect(action = AnyAction::new(name)?.with_resource("r"), agent = "bot", authority = authority)]
async fn dynamic(
    authority: &MockAuthority,
    name: &'static str,
    permit: Permit<AnyAction>,
) -> Result<String, Error> {
    Ok(permit.record().resource.unwrap_or_default())
}

macro_rules! protected {
    ($name:ident, $action:expr, $literal:literal, $type:ty) => {
        #[protect(action = $action, agent = $literal, authority = authority)]
        async fn $name(authority: &MockAuthority, permit: Permit<$type>) -> Result<String, Error> {
            Ok(permit.record().action.into_owned())
        }
    };
}

protected!(from_macro, Flush, "bot", Flush);
protected!(from_macro_literal, "deploy", "bot", AnyAction);

#[test]
fn a_derived_action_has_one_name_that_no_request_copies() {
    let named = Flush.name_for_request();
    assert!(matches!(named, Cow::Borrowed(name) if name == Flush.name()));
    assert_eq!(Modify::routine("p7").name_for_request(), Modify::NAME);
}

#[test]
fn every_form_of_action_is_authorized() {
    let yes = &MockAuthority::new()
        .allow("deploy")
        .allow("flush")
        .allow("modify_patient_record");
    let no = &MockAuthority::new();

    assert_eq!(
        block_on(literal(yes)).unwrap(),
        AnyAction::new("deploy").unwrap()
    );
    let Flush = block_on(unit(yes)).unwrap();
    assert!(refused(block_on(unit(no))));

    assert_eq!(
        block_on(fields(yes, "p7".into(), "allergy")).unwrap(),
        "p7 ALLERGY"
    );
    assert_eq!(
        asked(yes),
        json!({
            "action_type": "modify_patient_record", "actor_id": "p7", "resource_id": "p7",
            "context": {"patient": "p7", "reason": "ALLERGY"}
        })
    );
    assert!(refused(block_on(fields(no, "p7".into(), "allergy"))));

    assert_eq!(update(yes).unwrap(), "p7");
    assert_eq!(
        block_on(variable(yes, Modify::routine("p1"))).unwrap(),
        "p1"
    );
    assert!(refused(block_on(variable(no, Modify::routine("p1")))));
    assert_eq!(block_on(call(yes, "p2")).unwrap(), "routine");
    assert_eq!(block_on(branch(yes, false)).unwrap(), "b");

    assert_eq!(
        block_on(any(yes, AnyAction::new("deploy").unwrap())).unwrap(),
        "deploy"
    );
    assert!(refused(block_on(any(yes, AnyAction::new("drop").unwrap()))));
    assert_eq!(block_on(dynamic(yes, "deploy")).unwrap(), "r");
    assert!(matches!(block_on(dynamic(yes, "")), Err(Error::Invalid(_))));

    assert_eq!(block_on(from_macro(yes)).unwrap(), "flush");
    assert_eq!(block_on(from_macro_literal(yes)).unwrap(), "deploy");
}
