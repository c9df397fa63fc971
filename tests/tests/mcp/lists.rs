//! Tests that lists show what the caller could do now.

use std::sync::Arc;

use atlasent::authority::{DynAuthority, WithIssuer};
use atlasent::error::{Code, Failure};
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, Decision, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_mcp::Rule;
use serde_json::json;

use crate::support::{AGENT, connect, deploys, gate, local, names, shop};

const SOME: &str = r#"
    permit (principal, action == Action::"mcp.shop.echo", resource);
    permit (principal, action == Action::"mcp.shop.pay", resource) when { context.cents < 100 };
    @decision("hold") forbid (principal, action == Action::"mcp.shop.task", resource);
    permit (principal, action == Action::"mcp.shop.task", resource);
    permit (principal, action == Action::"mcp.shop:resources/read", resource == Resource::"file:///a");
    permit (principal, action == Action::"mcp.shop:prompts/get", resource == Resource::"review");
"#;

#[tokio::test]
async fn a_list_shows_what_could_be_allowed_and_nothing_else() {
    let (mut client, reached) = connect(shop(local(SOME))).await;
    let tools = client.request("tools/list", json!({})).await.unwrap();
    // `pay` depends on an argument, and a person could release `task`.
    assert_eq!(names(&tools, "tools", "name"), ["echo", "task", "pay"]);
    let resources = client.request("resources/list", json!({})).await.unwrap();
    assert_eq!(names(&resources, "resources", "uri"), ["file:///a"]);
    let prompts = client.request("prompts/list", json!({})).await.unwrap();
    assert_eq!(names(&prompts, "prompts", "name"), ["review"]);
    // What a list hides is refused all the same.
    let hidden = client.call("deploy", json!({})).await.unwrap();
    assert_eq!(hidden["isError"], true);
    assert_eq!(reached.count(), 0);
}

#[tokio::test]
async fn with_a_schema_a_list_hides_the_tools_that_no_policy_permits_the_agent() {
    let schema = r#"
        entity Group; entity Agent in [Group]; entity Resource;
        action "mcp.shop.pay" appliesTo {
            principal: Agent, resource: Resource, context: { to: String, cents: Long },
        };
        action "mcp.shop.echo" appliesTo {
            principal: Agent, resource: Resource, context: { text: String },
        };"#;
    let policy = r#"
        permit (principal in Group::"payers", action == Action::"mcp.shop.pay", resource);
        permit (principal, action == Action::"mcp.shop.echo", resource);"#;
    let payers = |agent: &str| {
        let payers = json!({"type": "Group", "id": "payers"});
        json!([
            {"uid": {"type": "Agent", "id": agent}, "attrs": {}, "parents": [payers]},
            {"uid": payers, "attrs": {}, "parents": []},
        ])
    };
    for (payer, shown) in [(AGENT, &["echo", "pay"][..]), ("other-bot", &["echo"])] {
        let policies = Policies::builder()
            .source("shop.cedar", policy)
            .schema("schema.cedarschema", schema)
            .entities("entities.json", payers(payer).to_string())
            .build()
            .unwrap();
        let authority = Arc::new(LocalAuthority::in_memory(policies).unwrap());
        let (mut client, reached) = connect(shop(authority)).await;
        let tools = client.request("tools/list", json!({})).await.unwrap();
        assert_eq!(names(&tools, "tools", "name"), shown, "{payer}");
        // What is hidden could not be called.
        let arguments = json!({"to": "ann", "cents": 1});
        let paid = client.call("pay", arguments).await.unwrap();
        assert_eq!(paid["isError"] == true, payer != AGENT, "{paid}");
        assert_eq!(reached.count(), usize::from(payer == AGENT));
    }
}

#[tokio::test]
async fn a_tool_whose_budget_counts_an_argument_is_listed_until_the_budget_is_used_up() {
    let policy = r#"
        @id("pay") @budget("cents 100/day per agent")
        permit (principal, action == Action::"mcp.shop.pay", resource);
        @id("echo") @budget("calls 1/day per agent")
        permit (principal, action == Action::"mcp.shop.echo", resource);"#;
    let authority = local(policy);
    let (mut client, _) = connect(shop(authority.clone())).await;
    let tools = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(names(&tools, "tools", "name"), ["echo", "pay"]);
    for is_refused in [false, true] {
        let echoed = client.call("echo", json!({})).await.unwrap();
        assert_eq!(echoed["isError"] == true, is_refused, "{echoed}");
    }
    // Another client's list has no answers of the last seconds.
    let (mut client, _) = connect(shop(authority)).await;
    let tools = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(names(&tools, "tools", "name"), ["pay"]);
}

#[tokio::test]
async fn a_tool_whose_resource_is_an_argument_is_not_hidden_by_policies_on_resources() {
    let policy =
        r#"permit (principal, action == Action::"mcp.shop.pay", resource == Resource::"a");"#;
    let list = async |rule: Rule| {
        let (mut client, _) = connect(gate(local(policy), deploys().tool("pay", rule))).await;
        let tools = client.request("tools/list", json!({})).await.unwrap();
        names(&tools, "tools", "name")
    };
    assert!(list(Rule::new()).await.is_empty());
    assert_eq!(list(Rule::new().resource("to")).await, ["pay"]);
}

#[tokio::test]
async fn no_list_is_shown_while_nobody_decides() {
    for reply in [Reply::Fail(Code::Network), Reply::Fail(Code::ServerError)] {
        let authority = Arc::new(MockAuthority::new().on_evaluate("mcp.shop.echo", reply));
        let (mut client, _) = connect(shop(authority)).await;
        let error = client.request("tools/list", json!({})).await.unwrap_err();
        assert_eq!(error["data"]["decision"], "unavailable");
        assert!(!error.to_string().contains("echo"), "{error}");
    }
}

/// Decides on many requests at once only, and on all but the last.
struct Batches(std::sync::atomic::AtomicUsize);

impl Authority for Batches {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Err(Failure::new(Code::BadRequest, "one by one").into())
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        let count = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert!(requests.iter().all(|request| request.shadow == Some(true)));
        let hold = || Ok(Evaluation::refuse(Decision::Hold, "wait"));
        let missing = usize::from(count > 0);
        Ok(requests.iter().skip(missing).map(|_| hold()).collect())
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Ok(Verification::refuse(None, "no"))
    }
}

#[tokio::test]
async fn a_list_is_one_batch_and_an_answer_too_few_shows_nothing() {
    let batches = || Batches(0.into());
    let authorities: [Arc<dyn DynAuthority>; 3] = [
        Arc::new(batches()),
        Arc::new(Box::new(batches())),
        Arc::new(WithIssuer::new(batches())),
    ];
    for authority in authorities {
        let (mut client, _) = connect(shop(authority)).await;
        let tools = client.request("tools/list", json!({})).await.unwrap();
        assert_eq!(names(&tools, "tools", "name").len(), 5);
        assert!(client.request("tools/list", json!({})).await.is_err());
    }
}

#[tokio::test]
async fn a_list_mints_no_permit() {
    let authority = local(SOME);
    let (mut client, _) = connect(shop(authority.clone())).await;
    client.request("tools/list", json!({})).await.unwrap();
    let filter = atlasent_authority::trail::EventFilter::default();
    let events = authority.events(0, 100, &filter).await.unwrap();
    assert!(
        events
            .iter()
            .all(|event| !event.envelope.kind.starts_with("permit"))
    );
}

#[tokio::test]
async fn clients_are_told_when_policies_change() {
    let authority = local(SOME);
    let gate = shop(authority.clone());
    let (mut client, _) = connect(gate.clone()).await;
    client.request("tools/list", json!({})).await.unwrap();
    let changes = authority.watch_policies();
    tokio::spawn(async move { gate.announce_lists(changes).await });
    let none = Policies::parse(r#"permit (principal, action == Action::"x", resource);"#);
    authority.replace_policies(none.unwrap()).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        let message = client.next().await;
        told.push(message["method"].as_str().unwrap().to_owned());
    }
    for list in ["tools", "prompts", "resources"] {
        assert!(
            told.contains(&format!("notifications/{list}/list_changed")),
            "{told:?}"
        );
    }
    let tools = client.request("tools/list", json!({})).await.unwrap();
    assert!(names(&tools, "tools", "name").is_empty());
}
