//! The same values in other spellings: which differences are accepted, and which are not.

use atlasent::audit::{GENESIS_HASH, MAX_DEPTH};

use super::{chain, event, sign, signed, unsigned, verify};

/// Returns a bundle of one event, whose payload arrives in another spelling than the signed one.
fn arrives(sealed: &str, received: &str) -> bool {
    let (event, head) = event(0, GENESIS_HASH, sealed, sealed);
    let bundle = signed(&unsigned(&[event], &head));
    let received = bundle.replacen(
        &format!("\"payload\":{sealed}"),
        &format!("\"payload\":{received}"),
        1,
    );
    verify(received).unwrap().verified()
}

#[test]
fn numbers_count_as_they_were_written() {
    for number in [
        "1",
        "-0",
        "1e2",
        "1.50",
        "1e-7",
        "1e+21",
        "1E400",
        "0.1000000000000000055511151231257827",
    ] {
        let payload = format!(r#"{{"n":{number}}}"#);
        assert!(arrives(&payload, &payload), "{number}");
    }
    let digits = "7".repeat(10_000);
    let payload = format!(r#"{{"n":{digits}}}"#);
    assert!(arrives(&payload, &payload));
    assert!(!arrives(&payload, &payload.replacen('7', "8", 1)));
}

#[test]
fn numbers_may_be_respelled_but_not_changed() {
    for (sealed, received) in [
        ("100.0", "1e2"),
        ("1e-07", "1e-7"),
        ("1e+16", "10000000000000000.0"),
        ("0", "-0"),
    ] {
        assert!(
            arrives(
                &format!(r#"{{"n":{sealed}}}"#),
                &format!(r#"{{"n":{received}}}"#)
            ),
            "{received}"
        );
    }
    for (sealed, received) in [
        ("100.0", "100"),
        ("100", "1e2"),
        ("1e2", "100.0"),
        ("1.5", "1.51"),
        ("null", "1e400"),
    ] {
        assert!(
            !arrives(
                &format!(r#"{{"n":{sealed}}}"#),
                &format!(r#"{{"n":{received}}}"#)
            ),
            "{received}"
        );
    }
}

#[test]
fn strings_may_be_escaped_in_any_way() {
    let sealed = "{\"é\":\"/\\\"\\\\\\n\\u0001🦀\u{2028}\u{7f}\"}";
    for received in [
        sealed,
        r#"{"\u00e9":"\/\u0022\u005C\u000a\u0001\ud83e\udd80\u2028\u007F"}"#,
        "{ \"é\" :\n\t\"/\\\"\\\\\\n\\u0001🦀\u{2028}\u{7f}\" }",
    ] {
        assert!(arrives(sealed, received), "{received}");
    }
    assert!(!arrives(sealed, &sealed.replace('é', "e\u{301}")));
}

#[test]
fn payloads_may_be_in_another_order_but_what_was_signed_may_not() {
    let (event, head) = event(
        0,
        GENESIS_HASH,
        r#"{"b":1,"a":[{"d":2,"c":3}]}"#,
        r#"{"a":[{"c":3,"d":2}],"b":1}"#,
    );
    let good = signed(&unsigned(&[event], &head));
    assert!(verify(&good).unwrap().is_intact());
    let sorted = good.replace(
        r#"{"b":1,"a":[{"d":2,"c":3}]}"#,
        r#"{"a":[{"c":3,"d":2}],"b":1}"#,
    );
    let report = verify(sorted).unwrap();
    assert!(report.chain.is_intact() && !report.signature_valid);
}

#[test]
fn white_space_a_wrapper_and_other_members_do_not_matter() {
    let bundle = super::bundle();
    let value: serde_json::Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(value["events"].as_array().unwrap().len(), 3);
    for text in [
        format!("\n\t {bundle} \r\n"),
        format!(
            r#"{{"description":[1,{{}}],"events":[7],"signature":"x","bundle":{bundle},"org_id":"other"}}"#
        ),
        bundle.replacen('{', r#"{"bundle":null,"#, 1),
        bundle
            .replace(r#","events":["#, ", \"events\" :\n[ ")
            .replace("},{", "} ,\n {"),
        bundle.replacen('{', r#"{"extra":"\ud800","more":[[],"x",1e999],"#, 1),
    ] {
        let report = verify(&text).unwrap();
        assert!(report.is_intact(), "{text}\n{report:?}");
    }
}

#[test]
fn a_bundle_without_events_ends_where_it_begins() {
    for (head, verified) in [(GENESIS_HASH, true), ("", false)] {
        let report = verify(signed(&unsigned(&[], head))).unwrap();
        assert_eq!((report.verified(), report.chain.events), (verified, 0));
    }
    let unsigned = unsigned(&[], GENESIS_HASH);
    let null = unsigned.replace("[]", "null");
    assert!(verify(signed(&null)).unwrap().verified());
    let absent = format!(
        "{},\"signature\":\"{}\"}}",
        unsigned.replace(",\"events\":[]", ""),
        sign(&format!("{null}}}"))
    );
    assert!(verify(absent).unwrap().verified());
}

#[test]
fn depth_is_bounded_but_not_by_the_stack() {
    // The event and its payload are two levels of nesting.
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 2),
            "]".repeat(depth - 2)
        )
    };
    let deep = |depth| {
        let (events, head) = chain(&[nested(depth)]);
        verify(signed(&unsigned(&events, &head)))
    };
    assert!(deep(MAX_DEPTH).unwrap().is_intact());
    let error = deep(MAX_DEPTH + 1).unwrap_err().to_string();
    assert!(
        error.contains("deeper than 4096 levels") && error.contains("index 0"),
        "{error}"
    );
    assert!(deep(1_000_000).is_err());
}

#[test]
fn half_a_surrogate_pair_is_no_character() {
    for half in [r"\ud800", r"\udc00x", r"\ud83e\ud83e"] {
        let (events, head) = chain(&[format!(r#"{{"a":"{half}"}}"#)]);
        let error = verify(signed(&unsigned(&events, &head))).unwrap_err();
        assert!(error.to_string().contains("surrogate"), "{error}");
        let member = super::bundle().replace("exp-1", half);
        let error = verify(member).unwrap_err();
        assert!(error.to_string().contains("surrogate"), "{error}");
    }
}
