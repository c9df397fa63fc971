//! The page of budgets: what is used up, by whom, and until when.

use atlasent_authority::keys::ApiScope;
use atlasent_authority::server::ApiKeys;
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::{Value, json};

use super::support::{ALICE, BOB, Browser, person, with_console};
use crate::support::{KEY, Served, Time, ms, stored, token_of};

const POLICIES: &str = r#"
    @id("pay") @budget("amount 100/hour per agent, amount 150/hour per organization, calls 5/hour per resource")
    permit (principal, action == Action::"pay", resource);
"#;

async fn serve(time: &Time) -> Served {
    let authority = LocalAuthority::builder(Policies::parse(POLICIES).unwrap());
    let authority = authority.clock(time.clock()).permit_ttl(ms(60_000));
    let mut narrow = person(BOB, "bob", "sre");
    narrow.scopes = vec![ApiScope::Approve];
    let mut live = stored("ask_live_0a6e47");
    live.scopes = ApiScope::ALL.to_vec();
    let keys = ApiKeys::new([stored(KEY), person(ALICE, "alice", "sre"), narrow, live]);
    Served::run(with_console(authority.build().await.unwrap(), keys)).await
}

fn payment(agent: &str, amount: f64, resource: Option<&str>) -> Value {
    json!({"action_type": "pay", "actor_id": agent, "resource_id": resource, "context": {"amount": amount}})
}

/// Returns the row of a budget as text, without markup.
fn row(page: &str, of: &str, budget: &str) -> String {
    let rows = page.split("<tr>").map(|row| {
        let row = row.split("</tr>").next().unwrap_or_default();
        let mut text = String::new();
        let mut is_tag = false;
        for character in row.chars() {
            match character {
                '<' => is_tag = true,
                '>' => (is_tag, text) = (false, text + " "),
                character if !is_tag => text.push(character),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    let mut found = rows.filter(|row| row.starts_with(of) && row.contains(budget));
    found
        .next()
        .unwrap_or_else(|| panic!("no `{of}`, `{budget}`: {page}"))
}

#[tokio::test]
async fn what_is_used_of_each_budget_is_shown_with_its_end() {
    let time = Time::new();
    let served = serve(&time).await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let page = alice.page("/console/budgets").await;
    let unused = "all agents amount 150/hour per organization of pay 0 of 150 150 nothing is used";
    assert_eq!(row(&page, "all agents", "per organization"), unused);
    assert!(
        !page.contains("per agent <"),
        "nobody has used anything: {page}"
    );

    let used = served.evaluate(&payment("bot-a", 69.5, Some("till"))).await;
    let token = token_of(&used);
    let verify = json!({"permit_token": token, "action_type": "pay", "actor_id": "bot-a"});
    assert_eq!(served.verify(&verify).await.json()["valid"], true);
    served.evaluate(&payment("bot-b", 80.5, None)).await;
    let page = alice.page("/console/budgets").await;
    let of = |of: &str, budget: &str| row(&page, of, budget);
    // The unused permit gives its amount back in a minute, and the used one in an hour.
    let all = of("all agents", "per organization");
    assert!(
        all.contains("150 of 150 0 used up a part in 1 min, all in 1 h"),
        "{all}"
    );
    let agent = of("agent bot-a", "per agent");
    assert!(agent.contains("of pay 69.5 of 100 30.5 in 1 h"), "{agent}");
    assert!(
        of("agent bot-b", "per agent").contains("80.5 of 100 19.5 in 1 min"),
        "{page}"
    );
    assert!(
        of("resource till", "per resource").contains("1 of 5 4"),
        "{page}"
    );
    assert!(
        of("resource default", "per resource").contains("1 of 5 4"),
        "{page}"
    );

    // Permits expire, and leave.
    time.set(70);
    let page = alice.page("/console/budgets").await;
    assert!(
        row(&page, "all agents", "per organization").contains("69.5 of 150 80.5"),
        "{page}"
    );
    assert!(!page.contains("bot-b"), "{page}");
    let named = alice.page("/console/budgets?of=bot-b").await;
    assert!(
        row(&named, "agent bot-b", "per agent").contains("0 of 100 100"),
        "{named}"
    );
    assert!(
        row(&named, "resource bot-b", "per resource").contains("0 of 5 5"),
        "{named}"
    );
    let named = alice.page("/console/budgets?of=bot-a").await;
    assert!(
        row(&named, "agent bot-a", "per agent").contains("69.5 of 100 30.5"),
        "{named}"
    );
    // Looking changes nothing.
    let events = served.events().await;
    alice.page("/console/budgets").await;
    assert_eq!(served.events().await.len(), events.len());
}

#[tokio::test]
async fn keys_of_the_other_environment_have_budgets_of_their_own() {
    let served = serve(&Time::new()).await;
    let live = served.caller("ask_live_0a6e47");
    live.post("/v1-evaluate", &payment("bot-live", 20.0, None))
        .await;
    let alice = Browser::logged_in(&served, ALICE).await;
    let page = alice.page("/console/budgets").await;
    assert!(
        row(&page, "all agents", "per organization").contains("0 of 150"),
        "{page}"
    );
    assert!(!page.contains("bot-live"), "{page}");
}

#[tokio::test]
async fn budgets_are_shown_to_those_who_may_see_permits() {
    let served = serve(&Time::new()).await;
    let bob = Browser::logged_in(&served, BOB).await;
    assert!(
        !bob.page("/console/approvals")
            .await
            .contains("/console/budgets")
    );
    bob.get("/console/budgets")
        .await
        .is_error_page(403, "INSUFFICIENT_SCOPE");
    let visitor = Browser::new(&served);
    visitor.get("/console/budgets").await.leads_to_login();
}
