//! Tests with arguments of any shape that what the server gets is what was decided on.

use std::sync::Arc;

use atlasent::testing::{Call, MockAuthority};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::support::{connect, shop};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_body_sees_what_was_decided_on(
        arguments in prop::collection::btree_map(".{0,4}", any_value(), 0..5)
    ) {
        let arguments = Value::Object(Map::from_iter(arguments));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (decided_on, reached) = runtime.block_on(async {
            let authority = Arc::new(MockAuthority::new().allow("mcp.shop.echo"));
            let (mut client, reached) = connect(shop(authority.clone())).await;
            client.call("echo", arguments.clone()).await.unwrap();
            let calls = authority.calls();
            let Some(Call::Evaluate(request)) = calls.first() else {
                panic!("nobody was asked");
            };
            (request.context.clone(), reached.all())
        });
        let seen = reached[0].1.clone();
        prop_assert_eq!(Some(decided_on.as_object()), seen.as_object());
        prop_assert_eq!(&seen, &arguments);
    }
}
