//! Tests required scopes: without a scope, the authority is not asked and the body does not run.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::sync::Arc;

use ati_client::Claims;
use atlasent::testing::{Call, MockAuthority, ScriptedApproval};
use atlasent::{Action, AnyAction, AuthorityExt, Decision, Error, Permit, protect};
use atlasent_tests::Ran;

const ACTION: &str = "github.search";

#[derive(Action)]
#[action("github.search")]
struct Search {
    query: String,
}

struct Tools {
    authority: MockAuthority,
    claims: Arc<Claims>,
    ran: Ran,
}

impl Tools {
    fn granting(scope: &str) -> Self {
        Self {
            authority: MockAuthority::new().allow(ACTION),
            claims: Arc::new(claims(scope)),
            ran: Ran::new(),
        }
    }

    #[protect(action = "github.search", agent = self.claims.sub(), authority = self.authority,
        scope = "tool:github:search", claims = self.claims)]
    async fn search(&self) -> Result<(), Error> {
        self.ran.hit();
        Ok(())
    }

    #[protect(action = "github.search", agent = self.claims.sub(), authority = self.authority,
        scope = format!("tool:{tool}"), claims = *self.claims)]
    fn call(&self, tool: &str) -> Result<(), Error> {
        self.ran.hit();
        Ok(())
    }

    #[protect(action = "github.search", agent = self.claims.sub(), authority = self.authority,
        claims = self.claims, wait = "10m")]
    async fn held(&self) -> Result<(), Error> {
        self.ran.hit();
        Ok(())
    }

    #[protect(action = "github.search", agent = self.claims.sub(), authority = self.authority,
        scope = "tool:github:search", claims = self.claims, wait = "10m")]
    fn held_with_scope(&self) -> Result<(), Error> {
        self.ran.hit();
        Ok(())
    }

    #[protect(action = Search { query }, agent = self.claims.sub(), authority = self.authority,
        scope = query.as_str(), claims = &self.claims)]
    async fn typed(&self, query: String, permit: Permit<Search>) -> Result<(), Error> {
        assert!(!permit.query.is_empty());
        self.ran.hit();
        Ok(())
    }
}

fn claims(scope: &str) -> Claims {
    Claims::builder("agent-7").scope(scope).build().unwrap()
}

/// Returns the missing scope, and how often the body ran and the authority was asked.
fn outcome(tools: &Tools, result: Result<(), Error>) -> (Option<String>, usize, usize) {
    let missing = result.err().map(|error| {
        let denied = error.denied().unwrap();
        assert_eq!(denied.decision(), Decision::Deny);
        assert_eq!(denied.code(), Some("SCOPE_MISSING"));
        assert_eq!(denied.agent().as_str(), "agent-7");
        denied.missing_scope().unwrap().to_owned()
    });
    (missing, tools.ran.count(), tools.authority.calls().len())
}

#[test]
fn a_granted_scope_lets_the_authority_decide() {
    for scope in ["tool:github:search", "tool:github:*", "*", "tool:github_*"] {
        let tools = Tools::granting(scope);
        let result = futures_executor::block_on(tools.search());
        assert_eq!(outcome(&tools, result), (None, 1, 2), "{scope}");
        let result = tools.call("github:search");
        assert_eq!(outcome(&tools, result), (None, 2, 4), "{scope}");
        let result = futures_executor::block_on(tools.typed("tool:github:search".to_owned()));
        assert_eq!(outcome(&tools, result), (None, 3, 6), "{scope}");
    }
}

#[test]
fn without_the_scope_nobody_is_asked_and_nothing_runs() {
    for scope in [
        "help",
        "tool:github",
        "tool:github:searches",
        "skill:github:search",
        "TOOL:GITHUB:SEARCH",
    ] {
        let tools = Tools::granting(scope);
        let missing = Some("tool:github:search".to_owned());
        let result = futures_executor::block_on(tools.search());
        assert_eq!(outcome(&tools, result), (missing.clone(), 0, 0), "{scope}");
        let result = tools.call("github:search");
        assert_eq!(outcome(&tools, result), (missing.clone(), 0, 0), "{scope}");
        let result = futures_executor::block_on(tools.typed("tool:github:search".to_owned()));
        assert_eq!(outcome(&tools, result), (missing, 0, 0), "{scope}");
    }
}

#[test]
fn a_token_that_expires_while_people_decide_runs_nothing() {
    for (expires_at, runs) in [(2_000, 0), (u64::MAX, 1)] {
        let claims = Claims::builder("agent-7")
            .scope("*")
            .issued_at(1_000)
            .expires_at(expires_at)
            .build()
            .unwrap();
        let claims = Arc::new(claims);
        let tools = || {
            let approval = ScriptedApproval::approve();
            Tools {
                authority: MockAuthority::new().hold_for_approval(ACTION, "two people", approval),
                claims: Arc::clone(&claims),
                ran: Ran::new(),
            }
        };
        let asynchronous = tools();
        let result = futures_executor::block_on(asynchronous.held());
        let blocking = tools();
        let results = [
            (result, &asynchronous),
            (blocking.held_with_scope(), &blocking),
        ];
        for (result, tools) in results {
            assert_eq!((result.is_ok(), tools.ran.count()), (runs == 1, runs));
            if let Err(error) = result {
                assert_eq!(error.denied().unwrap().code(), Some("TOKEN_EXPIRED"));
            }
            // Neither the approval nor a permit is used up.
            let calls = tools.authority.calls();
            let used = calls.iter().filter(|call| matches!(call, Call::Verify(_)));
            let asked = calls
                .iter()
                .filter(|call| matches!(call, Call::Evaluate(_)));
            assert_eq!((asked.count(), used.count()), (1 + runs, runs), "{calls:?}");
        }
    }
}

#[test]
fn the_claims_of_another_agent_grant_nothing() {
    #[protect(action = "github.search", agent = agent, authority = authority,
        scope = "tool:github:search", claims = claims)]
    async fn asynchronous(
        agent: &str,
        authority: &MockAuthority,
        claims: &Claims,
        ran: &Ran,
    ) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }

    #[protect(action = "github.search", agent = agent, authority = authority,
        scope = "tool:github:search", claims = claims)]
    fn blocking(
        agent: &str,
        authority: &MockAuthority,
        claims: &Claims,
        ran: &Ran,
    ) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }

    let (authority, ran) = (MockAuthority::new().allow(ACTION), Ran::new());
    for scope in ["*", "tool:github:search", "help"] {
        let claims = claims(scope);
        for agent in ["deploy-bot", "AGENT-7", "agent-7 ", "agent-70"] {
            let ask = authority.ask(agent, AnyAction::new(ACTION).unwrap());
            let ask = ask.scope("tool:github:search", &claims).protect();
            let results = [
                futures_executor::block_on(ask).map(drop),
                futures_executor::block_on(asynchronous(agent, &authority, &claims, &ran)),
                blocking(agent, &authority, &claims, &ran),
            ];
            for result in results {
                let error = result.unwrap_err();
                let denied = error.denied().unwrap();
                assert_eq!(denied.code(), Some("SCOPE_OF_ANOTHER_AGENT"), "{agent}");
                assert_eq!(
                    (denied.missing_scope(), denied.agent().as_str()),
                    (None, agent)
                );
            }
        }
    }
    assert_eq!((ran.count(), authority.calls().len()), (0, 0));
    let own = claims("tool:github:search");
    blocking("agent-7", &authority, &own, &ran).unwrap();
    assert_eq!((ran.count(), authority.calls().len()), (1, 2));
}

#[test]
fn an_invalid_scope_is_a_mistake_and_opens_nothing() {
    let tools = Tools::granting("*");
    for scope in ["", "tool:a tool:b"] {
        let result = futures_executor::block_on(tools.typed(scope.to_owned()));
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    }
    assert_eq!((tools.ran.count(), tools.authority.calls().len()), (0, 0));
}

#[test]
fn a_refusal_of_the_authority_names_no_scope() {
    let authority = MockAuthority::new().deny(ACTION, "not today");
    let claims = claims("*");
    let ask = authority.ask("agent-7", AnyAction::new(ACTION).unwrap());
    let error =
        futures_executor::block_on(ask.scope("tool:github:search", &claims).protect()).unwrap_err();
    assert_eq!(error.denied().unwrap().missing_scope(), None);
}

#[test]
fn each_scope_that_is_asked_for_has_to_be_granted() {
    let authority = MockAuthority::new().allow(ACTION);
    let ask = |granted: &str, required: [&str; 3]| {
        let builder = Claims::builder("agent-7");
        let claims = granted
            .split(' ')
            .fold(builder, |builder, scope| builder.scope(scope));
        let claims = claims.build().unwrap();
        let mut ask = authority.ask("agent-7", AnyAction::new(ACTION).unwrap());
        for scope in required {
            ask = ask.scope(scope, &claims);
        }
        futures_executor::block_on(ask.protect())
    };
    let required = ["tool:a", "tool:b", "audit"];
    assert!(ask("tool:a tool:b audit", required).is_ok());
    for missing in required {
        let granted: Vec<&str> = required
            .into_iter()
            .filter(|scope| *scope != missing)
            .collect();
        let granted = granted.join(" ");
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let error = ask(&granted, order.map(|index| required[index])).unwrap_err();
            assert_eq!(
                error.denied().unwrap().missing_scope(),
                Some(missing),
                "{granted}"
            );
        }
    }
    // The scopes of the claims of two agents are checked separately.
    let (one, other) = (claims("tool:a"), claims("tool:b"));
    let both = authority.ask("agent-7", AnyAction::new(ACTION).unwrap());
    let both = both.scope("tool:a", &one).scope("tool:a", &other);
    assert!(futures_executor::block_on(both.protect()).is_err());
}
