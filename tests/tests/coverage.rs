//! `atlasent::testing::coverage` names each gap between the code of a program and its policies.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use atlasent::testing::{Coverage, MockAuthority, coverage};
use atlasent::{Action, AnyAction, Error, Site, protect};
use atlasent_authority::Policies;
use atlasent_axum::{ProtectedRouter, SharedAuthority, get};
use atlasent_tower::{Access, ProtectedMethods, RequestTarget};

#[derive(Action)]
#[action("typed.send")]
struct Send {
    amount: u64,
}

#[protect(action = "first.deploy", agent = "bot")]
fn deploy() -> Result<(), Error> {
    Ok(())
}

#[protect(action = Send { amount }, agent = "bot")]
fn send(amount: u64) -> Result<(), Error> {
    Ok(())
}

#[protect(action = AnyAction::new(name)?, agent = "bot")]
fn computed(name: &'static str) -> Result<(), Error> {
    Ok(())
}

/// The actions of the sites above, and of the crate `atlasent_tests_renamed`.
const SITES: &str = r#"
    @id("deploy") permit (principal, action == Action::"first.deploy", resource);
    @id("send") permit (principal, action in [Action::"typed.send", Action::"renamed.flush"], resource);
"#;

fn covered_by(policies: &str) -> Coverage {
    assert!(deploy().is_err() && send(1).is_err() && computed("x").is_err());
    assert!(atlasent_tests_renamed::flush(&MockAuthority::new()).is_err());
    coverage(&Policies::parse(&format!("{SITES}{policies}")).unwrap())
}

fn app() -> atlasent_axum::ProtectedApp {
    let read = get(
        Access::in_handler("route.read").scope("tool:a:read"),
        async || "read",
    );
    let read = read.post(Access::action("route.write"), async || "written");
    ProtectedRouter::<SharedAuthority>::new()
        .route("/health", get(Access::public(), async || "ok"))
        .route("/things/{id}", read)
        .with_state(SharedAuthority::new(MockAuthority::new()))
}

const ROUTES: &str = r#"
    permit (principal, action in [Action::"route.read", Action::"route.write"], resource);
"#;

#[test]
fn policies_that_fit_the_code_are_complete() {
    let coverage = covered_by("");
    coverage.assert_complete();
    assert_eq!(
        coverage.to_string().lines().next(),
        Some("each action has code and a policy, and each policy can match a request")
    );
    let unnamed: Vec<_> = coverage
        .unnamed_sites()
        .into_iter()
        .map(Site::path)
        .collect();
    assert_eq!(unnamed, ["coverage::computed"]);
    assert!(
        coverage
            .to_string()
            .contains(": `coverage::computed` performs a `AnyAction`\n")
    );
}

#[test]
fn an_action_without_code_is_named_with_its_policy() {
    let coverage = covered_by(
        "\n@id(\"old\") permit (principal, action == Action::\"old.action\", resource);",
    );
    assert!(!coverage.is_complete());
    assert_eq!(coverage.actions_without_code(), ["old.action"]);
    let line = "  action `old.action`, named by policy `old` at <policies>:5:1: no code performs it: add a `#[protect]` \
                or a route for it, or remove it from the policies\n";
    assert_eq!(
        coverage
            .to_string()
            .split_inclusive('\n')
            .take(2)
            .collect::<String>(),
        format!("1 gap between the code and the policies:\n{line}")
    );
}

#[test]
fn a_site_without_a_policy_is_named_with_its_line() {
    let policies = SITES
        .replace("first.deploy", "first.depoly")
        .replace("\"send\") permit", "\"send\") forbid");
    let coverage = coverage(&Policies::parse(&policies).unwrap());
    let without: Vec<_> = coverage
        .sites_without_policy()
        .into_iter()
        .map(Site::path)
        .collect();
    assert!(
        without.contains(&"coverage::deploy".to_owned()),
        "{without:?}"
    );
    assert!(
        without.contains(&"coverage::send".to_owned()),
        "{without:?}"
    );
    let text = coverage.to_string();
    for end in [
        ": `coverage::deploy` performs `first.deploy`, and every request is denied: the policies do not know it: \
         correct the name, or write a policy for it",
        ": `coverage::send` performs `typed.send`, and every request is denied: no `permit` can allow it: write one",
    ] {
        let line = text.lines().find(|line| line.ends_with(end));
        let line = line.unwrap_or_else(|| panic!("no {end} in {text}"));
        assert!(line.contains("tests/coverage.rs:"), "{line}");
    }
}

#[test]
fn an_action_that_only_a_route_performs_is_covered() {
    let covered = covered_by(ROUTES);
    assert_eq!(
        covered.actions_without_code(),
        ["route.read", "route.write"]
    );
    covered.routes(app().table()).assert_complete();

    let methods = ProtectedMethods::new(MockAuthority::new())
        .method("a.B/Read", Access::action("route.read"))
        .method("a.B/Write", Access::action("route.write"));
    covered_by(ROUTES)
        .routes(&methods.table())
        .assert_complete();
}

#[test]
fn a_route_without_a_policy_is_named() {
    let coverage =
        covered_by(&ROUTES.replace("Action::\"route.write\"", "Action::\"route.wirte\""));
    let coverage = coverage.routes(app().table());
    assert_eq!(coverage.actions_without_code(), ["route.wirte"]);
    let [route] = coverage.routes_without_policy()[..] else {
        panic!("{coverage}");
    };
    assert_eq!((&*route.method, &*route.path), ("POST", "/things/{id}"));
    let line = "\n  route `POST /things/{id}` performs `route.write`, and every request is denied: the policies do not know it";
    assert!(coverage.to_string().contains(line), "{coverage}");
}

#[test]
fn a_route_whose_action_the_request_decides_is_not_compared() {
    let methods = ProtectedMethods::new(MockAuthority::new())
        .method("a.B/Any", Access::target(RequestTarget::grpc_method()));
    let coverage = covered_by("").routes(&methods.table());
    coverage.assert_complete();
    assert_eq!(coverage.unnamed_routes().len(), 1);
    assert!(
        coverage.to_string().ends_with("  route `gRPC /a.B/Any`\n"),
        "{coverage}"
    );
}

#[test]
fn a_policy_that_matches_no_request_is_named_with_its_place() {
    let coverage =
        covered_by("\n@id(\"off\") forbid (principal, action, resource) when { false };");
    assert_eq!(coverage.unmatchable_policies().len(), 1);
    let line = "  <policies>:5:1: policy `off` matches no request: its conditions are always false: correct it, or remove it\n";
    assert!(coverage.to_string().contains(line), "{coverage}");
}

#[test]
#[should_panic(expected = "action `site.nowhere`, named by the policies: no code performs it")]
fn a_gap_fails_the_assertion_with_its_text() {
    coverage(["site.nowhere"]).assert_complete();
}

#[test]
fn the_table_lists_routes_beside_sites() {
    let table = covered_by(ROUTES).routes(app().table()).table();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        rows.contains(&vec![
            "route.read",
            "GET",
            "/things/{id}",
            "tool:a:read",
            "no",
            "route"
        ]),
        "{table}"
    );
    assert!(
        rows.contains(&vec!["(public)", "GET", "/health", "-", "no", "route"]),
        "{table}"
    );
    let site = rows
        .iter()
        .find(|row| row.contains(&"coverage::deploy"))
        .unwrap();
    assert_eq!(site[..2], ["first.deploy", "fn"]);
}
