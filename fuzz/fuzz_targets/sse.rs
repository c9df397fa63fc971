//! Any body as an evaluation stream: the cuts between its pieces make no difference, and a final
//! allow has a token.

#![no_main]

use std::iter::once;

use atlasent::client::StreamEvent;
use atlasent::testing::wire;
use atlasent_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((body, pieces)) = pieces(input) else {
        return;
    };
    for limit in [16, 1 << 20] {
        let whole = wire::sse(limit, once(body));
        assert_eq!(wire::sse(limit, pieces.iter().copied()), whole);
        assert_eq!(wire::sse(limit, body.chunks(1)), whole);
        assert!(whole.0.iter().all(|(name, _)| !name.is_empty()));
    }

    let (events, end) = wire::stream(1 << 20, once(body));
    let (again, end_again) = wire::stream(1 << 20, pieces);
    assert_eq!(events, again);
    assert_eq!(
        end.map_err(|failure| failure.to_string()),
        end_again.map_err(|failure| failure.to_string())
    );
    for event in events {
        if let StreamEvent::Decision(decision) = event {
            let token = decision.permit_token.as_ref();
            assert!(token.is_none_or(|token| decision.decision.is_allow() && !token.is_empty()));
            assert!(token.is_some() || !decision.is_final || !decision.decision.is_allow());
        }
    }
});
