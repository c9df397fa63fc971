//! `#[derive(Action)]`: the resource, skipped and renamed fields, generics, raw identifiers.
#![deny(warnings)]

use std::fmt::Display;
use std::marker::PhantomData;

use atlasent::{Action, NamedAction};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Action)]
#[action("flush")]
struct Flush;

#[derive(Action)]
#[action("flush.all")]
pub struct FlushAll {}

/// Documented, with other attributes about.
#[derive(Action, Clone, Debug)]
#[action("transfer")]
#[allow(clippy::struct_field_names)]
pub struct Transfer {
    /// To whom.
    #[action(resource)]
    pub account: u64,
    #[action(skip)]
    password: String,
    #[action(rename = "sum")]
    pub amount: Option<u64>,
    pub(crate) r#type: &'static str,
    #[deprecated]
    legacy: bool,
}

#[derive(Action)]
#[action("ship")]
struct Ship {
    #[action(resource, skip)]
    order: String,
    #[action(rename = "self")]
    carrier: Vec<(String, u8)>,
}

#[derive(Action)]
#[action("store")]
struct Store<T, U = u8, const N: usize = 2>
where
    U: Clone,
{
    #[action(resource)]
    id: T,
    values: [U; N],
    #[action(skip)]
    marker: PhantomData<fn(U)>,
}

#[derive(Action)]
#[action("r#type")]
struct r#Type {
    r#fn: u8,
}

fn asks<A: NamedAction>(action: A) -> (String, Option<String>, Value) {
    assert_eq!(action.name(), A::NAME);
    let context = action.context().unwrap();
    let resource = action.resource().map(|resource| resource.into_owned());
    (
        A::NAME.to_owned(),
        resource,
        Value::Object(context.as_object().clone()),
    )
}

fn store<T: Serialize + Display + Send + Sync + 'static>(id: T) -> (String, Option<String>, Value) {
    asks(Store {
        id,
        values: [1_u8, 2],
        marker: PhantomData,
    })
}

#[test]
fn a_derived_action_has_its_resource_and_context() {
    assert_eq!(asks(Flush), ("flush".into(), None, json!({})));
    assert_eq!(asks(FlushAll {}), ("flush.all".into(), None, json!({})));

    #[allow(deprecated)]
    let transfer = Transfer {
        account: 7,
        password: "hunter2".into(),
        amount: Some(5),
        r#type: "wire",
        legacy: true,
    };
    assert_eq!(
        asks(transfer),
        (
            "transfer".into(),
            Some("7".into()),
            json!({"account": 7, "sum": 5, "type": "wire", "legacy": true})
        )
    );

    let ship = Ship {
        order: "o1".into(),
        carrier: vec![("x".into(), 1)],
    };
    assert_eq!(
        asks(ship),
        (
            "ship".into(),
            Some("o1".into()),
            json!({"self": [["x", 1]]})
        )
    );

    assert_eq!(
        store("s"),
        (
            "store".into(),
            Some("s".into()),
            json!({"id": "s", "values": [1, 2]})
        )
    );
    assert_eq!(
        asks(r#Type { r#fn: 1 }),
        ("r#type".into(), None, json!({"fn": 1}))
    );
}

#[derive(Action)]
#[action("configured")]
struct Configured {
    kept: u8,
    #[cfg(any())]
    gone: NoSuchType,
    #[cfg_attr(all(), action(skip))]
    skipped: u8,
}

#[test]
fn a_field_that_is_compiled_out_is_in_no_context() {
    let action = Configured {
        kept: 1,
        skipped: 2,
    };
    assert_eq!(action.skipped, 2);
    assert_eq!(
        asks(action),
        ("configured".into(), None, json!({"kept": 1}))
    );
}
