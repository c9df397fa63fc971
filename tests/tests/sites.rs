//! `atlasent::sites()` lists each `#[protect]` and each `#[derive(Action)]` of the binary once.

#![forbid(unsafe_code)]

use async_trait::async_trait;
use atlasent::testing::MockAuthority;
use atlasent::{Action, AnyAction, Error, Site, boundary, protect, sites};
use futures_executor::block_on;
use serde_json::{Value, json};

#[derive(Action)]
#[action("site.typed")]
struct Typed<T> {
    value: T,
}

#[protect(action = "site.free", agent = "bot", scope = "tool:a:b", claims = claims)]
async fn free(claims: &ati_client::Claims) -> Result<(), Error> {
    let _ = claims;
    Ok(())
}

#[protect(action = Typed { value }, agent = "bot")]
fn generic<T: Send + Sync + serde::Serialize + 'static>(value: T) -> Result<(), Error> {
    #[protect(action = "site.inner", agent = "bot")]
    fn inner() -> Result<(), Error> {
        Ok(())
    }
    inner()
}

#[protect(action = AnyAction::new(name)?, agent = "bot")]
fn computed(name: &'static str) -> Result<(), Error> {
    Ok(())
}

trait Deploy {
    #[protect(action = "site.default", agent = "bot")]
    async fn by_default(&self) -> Result<(), Error>
    where
        Self: Sized,
    {
        Ok(())
    }
}

impl Deploy for MockAuthority {}
impl Deploy for String {}

#[async_trait]
trait Boxed {
    async fn boxed(&self) -> Result<(), Error>;
}

#[async_trait]
impl Boxed for MockAuthority {
    #[protect(action = "site.boxed", agent = "bot", authority = self)]
    async fn boxed(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct Bank<T>(T);

#[boundary(agent = "bot")]
impl<T> Bank<T> {
    #[protect(action = "site.first")]
    pub(crate) fn first(&self) -> Result<&T, Error> {
        Ok(&self.0)
    }

    #[protect(action = "site.second")]
    pub(crate) fn second(&self) -> Result<&T, Error> {
        Ok(&self.0)
    }
}

/// The sites of a crate, as `action path`.
fn listed(name: &str) -> Vec<String> {
    let sites = sites();
    let of_crate = sites.iter().filter(|site| site.path().starts_with(name));
    of_crate
        .map(|site| format!("{} {}", site.action().unwrap_or("?"), site.path()))
        .collect()
}

/// The function with an action, which is listed once.
fn site(action: &str) -> Option<Site> {
    let mut found = sites()
        .into_iter()
        .filter(|site| site.action() == Some(action) && site.function().is_some());
    let site = found.next();
    assert!(found.next().is_none(), "{action} is listed twice");
    site
}

#[test]
fn each_shape_is_listed_once_in_the_order_of_the_file() {
    let expected = [
        "site.typed sites::Typed",
        "site.free sites::free",
        "site.typed sites::generic",
        "site.inner sites::inner",
        "? sites::computed",
        "site.default sites::by_default",
        "site.boxed sites::boxed",
        "site.first sites::first",
        "site.second sites::second",
    ];
    assert_eq!(listed("sites::"), expected);
    // Instances of generic code add nothing.
    assert!(generic(1_u8).is_err() && generic("a").is_err() && computed("x").is_err());
    assert!(Bank(1).first().is_err() && Bank("a").second().is_err());
    assert!(block_on(String::new().by_default()).is_err());
    let mock = MockAuthority::new();
    assert!(block_on(mock.by_default()).is_err() && block_on(mock.boxed()).is_err());
    assert_eq!(listed("sites::"), expected);
}

#[test]
fn the_sites_of_a_dependency_are_listed() {
    assert_eq!(
        listed("atlasent_tests_renamed"),
        [
            "renamed.flush atlasent_tests_renamed::Flush",
            "renamed.flush atlasent_tests_renamed::flush",
        ]
    );
    assert!(atlasent_tests_renamed::flush(&MockAuthority::new()).is_err());
}

#[test]
fn a_site_says_where_it_is() {
    let first = site("site.first").unwrap();
    let second = site("site.second").unwrap();
    assert!(first.file().ends_with("sites.rs"), "{}", first.file());
    assert_eq!(second.line() - first.line(), 5);
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sites.rs"));
    let text = text.unwrap();
    let line = text.lines().nth(first.line() as usize - 1).unwrap();
    assert!(
        line.contains("#[protect(action = \"site.first\")]"),
        "{line}"
    );
    assert_eq!(site("site.free").unwrap().scope(), Some("tool:a:b"));
    assert_eq!(site("site.typed").unwrap().type_name(), Some("Typed"));
    assert!(!first.is_checked());
}

#[test]
fn the_table_has_a_line_for_each_site() {
    let sites = sites();
    let table = sites.to_string();
    assert_eq!(table.lines().count(), sites.len() + 1);
    assert!(table.starts_with("ACTION"), "{table}");
    let line = table.lines().find(|line| line.contains("site.free"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(
        words[..5],
        ["site.free", "fn", "sites::free", "tool:a:b", "no"]
    );
    assert!(table.contains("<AnyAction>"), "{table}");
}

#[test]
fn a_tool_reads_the_sites_as_json() {
    let json = serde_json::to_value(sites()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), sites().len());
    let free = site("site.free").unwrap();
    let path = Value::from("sites::free");
    let found = json
        .as_array()
        .unwrap()
        .iter()
        .find(|site| site["path"] == path);
    let expected = json!({
        "action": "site.free", "type": null, "function": "free", "path": "sites::free",
        "file": free.file(), "line": free.line(), "scope": "tool:a:b", "checked": false,
    });
    assert_eq!(found, Some(&expected));
}
