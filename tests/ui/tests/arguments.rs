//! The other arguments: each is an expression of its own, evaluated where the parameters are in
//! scope.
#![deny(warnings)]

mod support;

use std::sync::{Arc, Mutex};

use atlasent::authority::DynAuthority;
use atlasent::testing::MockAuthority;
use atlasent::wire::RequestOptions;
use atlasent::{Action, Agent, Error, Permit, configure, protect};
use futures_executor::block_on;
use serde::Serialize;
use serde_json::{Value, json};
use support::{asked, refused};

struct Claims {
    sub: String,
    admin: bool,
}

#[derive(Serialize)]
struct Deploy<'a> {
    commit: &'a str,
    r#type: u8,
}

#[protect(
    action = "deploy",
    agent = claims.sub,
    resource = format_args!("cluster-{}", 7),
    context = { commit, approver: &claims.sub, "cost centre": 5, r#type: Some(1.5), list: [1, 2], },
    authority = authority,
    request = |r| r.environment("production").amount(5).explain(claims.admin),
)]
async fn all(
    authority: &MockAuthority,
    claims: Claims,
    commit: String,
    permit: Permit,
) -> Result<String, Error> {
    assert_eq!(permit.agent().as_str(), claims.sub);
    // Nothing was moved.
    let Claims { sub, .. } = claims;
    Ok(sub + &commit)
}

#[protect(action = "deploy", agent = "bot", context = Deploy { commit, r#type: 2 }, authority = authority)]
async fn context_value(authority: &MockAuthority, commit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", context = whole, resource = whole["id"], authority = authority)]
fn context_variable(authority: &MockAuthority, whole: Value) -> Result<Value, Error> {
    Ok(whole)
}

#[protect(action = "deploy", agent = "bot", context = {}, authority = authority)]
fn context_empty(authority: &MockAuthority) -> Result<(), Error> {
    Ok(())
}

/// Each value stands for itself: `a || b` does not mix with what comes after it.
#[protect(
    action = "deploy",
    agent = if a || b { "first" } else { "second" },
    context = { either: a || b, both: a && b, less: 1 + 2 < 4, cast: 44 as u8 as u64, not: !a, negative: -1, closure: (|| a)() },
    resource = a as u8 + b as u8,
    authority = authority,
)]
async fn operators(authority: &MockAuthority, a: bool, b: bool) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = agent, authority = authority)]
async fn agents(authority: &MockAuthority, agent: &Agent) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = String::from("temporary") + "!", authority = Arc::clone(&authority))]
async fn temporaries(authority: Arc<MockAuthority>) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = name?, authority = authority, context = { length: length? })]
fn question_marks(
    authority: &MockAuthority,
    name: Result<&str, Error>,
    length: Result<u8, Error>,
) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = look_up(id).await?, authority = authority)]
async fn awaits(authority: &MockAuthority, id: u8) -> Result<u8, Error> {
    Ok(id)
}

async fn look_up(id: u8) -> Result<String, Error> {
    Ok(format!("agent-{id}"))
}

struct App {
    authority: Arc<dyn DynAuthority>,
    boxed: Box<dyn DynAuthority>,
}

impl App {
    #[protect(action = "deploy", agent = "bot", authority = self.authority)]
    async fn of_arc(&self) -> Result<(), Error> {
        Ok(())
    }

    #[protect(action = "deploy", agent = "bot", authority = &*self.authority)]
    async fn of_reference(&self) -> Result<(), Error> {
        Ok(())
    }

    #[protect(action = "deploy", agent = "bot", authority = self.boxed)]
    fn of_box(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[protect(action = "deploy", agent = "bot")]
async fn of_process() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "other", agent = "bot")]
fn of_process_sync() -> Result<(), Error> {
    Ok(())
}

/// A value in a lock is borrowed while the authority is asked: by then the context has given its
/// locks back, and in the body the authority has, too.
static LOCKED: Mutex<Option<MockAuthority>> = Mutex::new(None);
static COUNTS: Mutex<(u8, u8)> = Mutex::new((1, 2));

#[protect(
    action = "deploy",
    agent = "bot",
    context = { first: COUNTS.lock().unwrap().0, second: COUNTS.lock().unwrap().1 },
    resource = COUNTS.lock().unwrap().0,
    authority = LOCKED.lock().unwrap().as_ref().unwrap(),
)]
fn locked_sync() -> Result<u8, Error> {
    assert!(LOCKED.try_lock().is_ok());
    Ok(COUNTS.lock().unwrap().0)
}

#[protect(
    action = "deploy",
    agent = "bot",
    context = { first: COUNTS.lock().unwrap().0, second: COUNTS.lock().unwrap().1 },
    authority = LOCKED.lock().unwrap().as_ref().unwrap(),
)]
async fn locked() -> Result<u8, Error> {
    assert!(LOCKED.try_lock().is_ok());
    Ok(COUNTS.lock().unwrap().0)
}

/// What an argument holds only while it is evaluated is not in the future, which another thread may
/// run on.
#[protect(
    action = Counted { count: COUNTS.lock().unwrap().0 },
    agent = AGENTS.lock().unwrap()[0],
    authority = authority,
    request = AGENTS.lock().unwrap()[0].len().then_amount(),
)]
async fn locks_of_arguments(authority: &MockAuthority) -> Result<(), Error> {
    Ok(())
}

static AGENTS: Mutex<[&str; 1]> = Mutex::new(["bot"]);

#[derive(Action)]
#[action("deploy")]
struct Counted {
    count: u8,
}

trait ThenAmount {
    fn then_amount(self) -> fn(RequestOptions) -> RequestOptions;
}

impl ThenAmount for usize {
    fn then_amount(self) -> fn(RequestOptions) -> RequestOptions {
        |options| options.amount(3)
    }
}

/// A context that a block computes stands in parentheses.
#[protect(
    action = "deploy",
    agent = "bot",
    context = ({ let half = count / 2; json!({ "half": half }) }),
    authority = authority,
)]
async fn computed(authority: &MockAuthority, count: u8) -> Result<(), Error> {
    Ok(())
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn each_argument_is_an_expression_of_its_own() {
    let yes = &Arc::new(MockAuthority::new().allow("deploy"));
    let no = &Arc::new(MockAuthority::new());

    let claims = |sub: &str| Claims {
        sub: sub.into(),
        admin: true,
    };
    assert_eq!(
        block_on(is_send(all(yes, claims("jane"), "4f2a".into()))).unwrap(),
        "jane4f2a"
    );
    assert_eq!(
        asked(yes),
        json!({
            "action_type": "deploy", "actor_id": "jane", "resource_id": "cluster-7",
            "context": {"commit": "4f2a", "approver": "jane", "cost centre": 5, "type": 1.5, "list": [1, 2]},
            "environment": "production", "amount": 5, "explain": true
        })
    );
    assert!(refused(block_on(all(no, claims("jane"), "4f2a".into()))));
    assert!(matches!(
        block_on(all(yes, claims(""), "4f2a".into())),
        Err(Error::Invalid(_))
    ));

    block_on(is_send(context_value(yes, "4f2a"))).unwrap();
    assert_eq!(asked(yes)["context"], json!({"commit": "4f2a", "type": 2}));
    assert_eq!(
        context_variable(yes, json!({"id": 7})).unwrap(),
        json!({"id": 7})
    );
    assert_eq!(asked(yes)["resource_id"], "7");
    assert!(matches!(
        context_variable(yes, json!(5)),
        Err(Error::Invalid(_))
    ));
    context_empty(yes).unwrap();

    block_on(is_send(operators(yes, true, false))).unwrap();
    assert_eq!(
        asked(yes)["context"],
        json!({"either": true, "both": false, "less": true, "cast": 44, "not": false, "negative": -1, "closure": true})
    );
    assert_eq!(
        (&asked(yes)["actor_id"], &asked(yes)["resource_id"]),
        (&json!("first"), &json!("1"))
    );

    block_on(agents(yes, &Agent::new("typed").unwrap())).unwrap();
    assert_eq!(asked(yes)["actor_id"], "typed");
    block_on(is_send(temporaries(yes.clone()))).unwrap();
    assert_eq!(asked(yes)["actor_id"], "temporary!");
    question_marks(yes, Ok("jane"), Ok(4)).unwrap();
    assert_eq!(asked(yes)["context"]["length"], 4);
    let invalid = || Error::Invalid("no name".into());
    assert!(matches!(
        question_marks(yes, Err(invalid()), Ok(4)),
        Err(Error::Invalid(_))
    ));
    block_on(is_send(awaits(yes, 3))).unwrap();
    assert_eq!(asked(yes)["actor_id"], "agent-3");

    for (mock, expected) in [(yes, true), (no, false)] {
        let app = App {
            authority: mock.clone(),
            boxed: Box::new(mock.clone()),
        };
        assert_eq!(block_on(is_send(app.of_arc())).is_ok(), expected);
        assert_eq!(block_on(is_send(app.of_reference())).is_ok(), expected);
        assert_eq!(app.of_box().is_ok(), expected);
    }

    *LOCKED.lock().unwrap() = Some(MockAuthority::new().allow("deploy"));
    assert_eq!(locked_sync().unwrap(), 1);
    assert_eq!(block_on(locked()).unwrap(), 1);
    block_on(is_send(locks_of_arguments(yes))).unwrap();
    assert_eq!(asked(yes)["amount"], 3);
    assert_eq!(asked(yes)["context"], json!({"count": 1}));
    block_on(is_send(computed(yes, 8))).unwrap();
    assert_eq!(asked(yes)["context"], json!({"half": 4}));

    assert!(matches!(block_on(of_process()), Err(Error::Config(_))));
    configure(yes.clone()).unwrap();
    block_on(is_send(of_process())).unwrap();
    assert!(refused(of_process_sync()));
}
