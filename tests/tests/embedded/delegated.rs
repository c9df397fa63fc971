//! Tests requests of delegates: policies see the chain of actors, a stop of any actor stops them,
//! and the trail records them.

use ati_client::{Claims, delegate};
use atlasent::wire::{EvaluateRequest, StopScope, VerifyRequest};
use atlasent::{Agent, Authority, AuthorityExt, Decision, Error, protect};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use futures_executor::block_on;

use crate::support::{AGENT, action, now, permit_all, refusal};

const POLICIES: &str = r#"
    permit (principal == Agent::"deploy-bot", action, resource);
    @id("no-crawlers") @code("NO_CRAWLERS")
    forbid (principal, action, resource) when { context has actors && context.actors.contains("crawler") };
"#;

fn authority(policies: &str) -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(policies).unwrap()).unwrap()
}

fn agent() -> Claims {
    Claims::builder(AGENT).scope("*").build().unwrap()
}

fn helper() -> Claims {
    delegate(&agent(), "helper").scope("*").build().unwrap()
}

fn crawler() -> Claims {
    delegate(&helper(), "crawler").scope("*").build().unwrap()
}

fn request(actors: &[&str]) -> EvaluateRequest {
    let agent = Agent::new(AGENT).unwrap();
    let actors = actors.iter().map(|actor| Agent::new(*actor).unwrap());
    EvaluateRequest::new(agent, &action())
        .unwrap()
        .with_actors(actors)
}

#[protect(action = "deploy", agent = claims.sub(), claims = claims, authority = authority)]
async fn deploy<P: Authority>(authority: &P, claims: &Claims, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = "deploy", agent = AGENT, scope = "tool:deploy", claims = claims, authority = authority)]
fn deploy_scoped<P: Authority>(authority: &P, claims: &Claims, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[test]
fn policies_see_the_chain_and_a_delegate_has_no_policy_of_its_own() {
    let own = r#"permit (principal == Agent::"helper", action, resource);"#;
    let (authority, ran) = (authority(POLICIES), Ran::new());
    block_on(deploy(&authority, &agent(), &ran)).unwrap();
    block_on(deploy(&authority, &helper(), &ran)).unwrap();
    deploy_scoped(&authority, &helper(), &ran).unwrap();
    assert_eq!(ran.count(), 3);
    let refused = [
        block_on(deploy(&authority, &crawler(), &ran)),
        deploy_scoped(&authority, &crawler(), &ran),
    ];
    for error in refused {
        let error = error.unwrap_err();
        assert_eq!(error.denied().unwrap().code(), Some("NO_CRAWLERS"));
    }
    now(authority.replace_policies(Policies::parse(own).unwrap()));
    let error = block_on(deploy(&authority, &helper(), &ran)).unwrap_err();
    assert_eq!(error.denied().unwrap().agent().as_str(), AGENT);
    assert_eq!(ran.count(), 3);
}

#[test]
fn a_context_cannot_name_actors() {
    let authority = authority(POLICIES);
    for claims in [agent(), helper()] {
        let action = action().with_field("actors", &["desk"]).unwrap();
        let error = refusal(authority.ask(AGENT, action).claims(&claims).protect());
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
}

#[test]
fn the_claims_of_one_request_name_the_same_actors() {
    let authority = authority(POLICIES);
    let ask = || authority.ask(AGENT, action()).scope("a", &helper());
    assert!(block_on(ask().scope("b", &helper()).protect()).is_ok());
    for other in [agent(), crawler()] {
        assert!(matches!(
            refusal(ask().scope("b", &other).protect()),
            Error::Invalid(_)
        ));
    }
    let other = Claims::builder("other").build().unwrap();
    let error = refusal(authority.ask(AGENT, action()).claims(&other).protect());
    assert_eq!(
        error.denied().unwrap().code(),
        Some("SCOPE_OF_ANOTHER_AGENT")
    );
}

#[test]
fn a_stop_of_any_actor_stops_the_delegate_and_kills_its_permits() {
    for stopped in [AGENT, "helper", "crawler"] {
        let authority = LocalAuthority::in_memory(permit_all()).unwrap();
        let issued = now(authority.evaluate(&request(&["crawler", "helper"])));
        let own = now(authority.evaluate(&request(&[])));
        now(authority.stop(StopScope::agent(stopped).unwrap(), "an alarm", None));
        let denied = now(authority.evaluate(&request(&["crawler", "helper"])));
        assert_eq!(denied.code.as_deref(), Some("STOPPED"), "{stopped}");
        let verify = |token| now(authority.verify(&VerifyRequest::new(token)));
        let dead = verify(issued.permit_token.unwrap());
        assert_eq!(
            dead.verify_error_code.as_deref(),
            Some("STOPPED"),
            "{stopped}"
        );
        assert_eq!(verify(own.permit_token.unwrap()).valid, stopped != AGENT);
    }
    let authority = LocalAuthority::in_memory(permit_all()).unwrap();
    now(authority.stop(StopScope::agent("desk").unwrap(), "an alarm", None));
    assert!(
        now(authority.evaluate(&request(&["helper"])))
            .decision
            .is_allow()
    );
}

#[test]
fn the_trail_records_the_actors() {
    let authority = authority(POLICIES);
    let allow = now(authority.evaluate(&request(&["helper"])));
    now(authority.verify(&VerifyRequest::new(allow.permit_token.unwrap())));
    now(authority.evaluate(&request(&[])));
    let events = now(authority.events(0, 100, &EventFilter::default()));
    let recorded = events
        .iter()
        .filter(|event| event.envelope.kind != "policy.loaded");
    let has_actors =
        recorded.map(|event| event.payload.as_str().contains(r#""actors":["helper"]"#));
    assert_eq!(has_actors.collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn an_approval_for_the_agent_is_none_for_its_delegate() {
    let authority = authority(
        r#"permit (principal, action, resource);
        @decision("hold") @approvers("role:sre") forbid (principal, action, resource);"#,
    );
    let held = |request: &EvaluateRequest| {
        let answer = now(authority.evaluate(request));
        assert_eq!(answer.decision, Decision::Hold);
        answer.escalation_id.unwrap()
    };
    let own = held(&request(&[]));
    let delegated = held(&request(&["helper"]));
    assert_ne!(own, delegated);
    assert_eq!(held(&request(&["helper"])), delegated);
    assert_ne!(held(&request(&["helper", "desk"])), delegated);
    let sre = Approver::new("alice", ["sre"]).unwrap();
    now(authority.vote(own.parse().unwrap(), Ballot::approve(sre)));
    assert_eq!(held(&request(&["helper"])), delegated);
    assert!(now(authority.evaluate(&request(&[]))).decision.is_allow());
    let shown = now(authority.approval(delegated.parse().unwrap()))
        .unwrap()
        .shown;
    let shown = shown.as_str().unwrap();
    assert!(shown.contains(r#""actors":["helper"]"#), "{shown}");
}

#[test]
fn a_schema_gives_the_actors_their_type() {
    let schema = |actors: &str| {
        format!(
            r#"entity Agent; entity Resource;
            action deploy appliesTo {{ principal: Agent, resource: Resource, context: {{ environment: String{actors} }} }};"#
        )
    };
    let policies = |actors: &str, policy: &str| {
        Policies::builder()
            .schema("schema", schema(actors))
            .source("policy", policy)
            .build()
    };
    let asked = |policies: Policies, actors: &[&str]| {
        let authority = LocalAuthority::in_memory(policies).unwrap();
        now(authority.evaluate(&request(actors)))
    };
    for (declared, policy) in [
        (
            ", actors?: Set<Agent>",
            r#"permit (principal, action, resource) unless { context has actors && context.actors.contains(Agent::"crawler") };"#,
        ),
        (
            ", actors?: Set<String>",
            r#"permit (principal, action, resource) unless { context has actors && context.actors.contains("crawler") };"#,
        ),
    ] {
        let load = || policies(declared, policy).unwrap();
        assert!(asked(load(), &[]).decision.is_allow());
        assert!(asked(load(), &["helper"]).decision.is_allow());
        assert!(!asked(load(), &["helper", "crawler"]).decision.is_allow());
    }
    // Policies that cannot see the actors do not decide about a delegate.
    let blind = || policies("", "permit (principal, action, resource);").unwrap();
    assert!(asked(blind(), &[]).decision.is_allow());
    assert_eq!(
        asked(blind(), &["helper"]).code.as_deref(),
        Some("FIELD_NOT_IN_SCHEMA")
    );
}
