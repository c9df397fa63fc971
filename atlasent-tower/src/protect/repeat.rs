//! Detects inner services that repeat calls, because a permit is for one call.

use std::any::type_name;

use crate::Refusal;

/// The services of `tower` and `tower-http` that may call their inner service more than once for a
/// request.
const REPEATING: [&str; 3] = [
    "tower::retry::Retry",
    "tower::hedge::Hedge",
    "tower_http::follow_redirect::FollowRedirect",
];

/// Crates whose services wrap one inner service, which is the first argument of their types.
const WRAPPING: [&str; 3] = ["tower::", "tower_http::", "atlasent_tower::"];

/// Whether `I` repeats calls, or wraps a service that does: `Timeout<Retry<P, S>>`.
///
/// A type parameter shows only the name of its type. The standard library does not guarantee its
/// text, and a box hides it, so this is a second line of defence: the first is
/// [`TakePermitLayer`](crate::TakePermitLayer). A test with the types of `tower` fails if the names
/// change.
pub(crate) fn repeats<I>() -> bool {
    is_repeating(type_name::<I>())
}

fn is_repeating(mut name: &str) -> bool {
    while let Some((path, arguments)) = name.split_once('<') {
        if REPEATING.contains(&path) {
            return true;
        }
        if !WRAPPING.iter().any(|wrapping| path.starts_with(wrapping)) {
            return false;
        }
        name = arguments;
    }
    false
}

pub(crate) fn refusal() -> Refusal {
    Refusal::misconfigured(
        "a `Retry`, `Hedge` or `FollowRedirect` is inside the layer that obtains the permit, and one permit is for one call: put it outside the layer",
    )
}

#[cfg(test)]
mod tests {
    use super::is_repeating;

    #[test]
    fn only_layers_that_wrap_the_service_count_as_repeating() {
        for repeating in [
            "tower::retry::Retry<my::Policy, my::Service>",
            "tower::hedge::Hedge<my::Service, my::Policy>",
            "tower_http::follow_redirect::FollowRedirect<my::Service>",
            "tower::timeout::Timeout<tower::retry::Retry<my::Policy, my::Service>>",
            "tower_http::cors::Cors<tower::util::map_err::MapErr<tower::retry::Retry<P, S>, F>>",
        ] {
            assert!(is_repeating(repeating), "{repeating}");
        }
        for other in [
            "my::Service",
            "tower::timeout::Timeout<my::Service>",
            // A proxy that repeats its own requests is itself called once.
            "my::Proxy<tower::retry::Retry<my::Policy, my::Client>>",
            "tower::timeout::Timeout<my::Proxy<tower::retry::Retry<P, C>>>",
            "my::tower::retry::Retry<P, S>",
            "tower::retry::RetryLayer<P>",
        ] {
            assert!(!is_repeating(other), "{other}");
        }
    }
}
