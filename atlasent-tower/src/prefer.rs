//! The time for which a request waits for approvers: `Prefer: wait=N` (RFC 7240), up to a maximum
//! that the service sets.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The longest time for which a request may wait for approvers, as an extension of the request.
///
/// [`RouteGuard::max_wait`](crate::RouteGuard::max_wait) and the routers set it, in place of one that
/// is there. Insert it yourself where none of them is around an extractor or a call of
/// [`obtain_permit`](crate::obtain_permit): in axum, with a layer `Extension(MaxWait::new(…))`.
/// Without it no request waits. [`ProtectLayer::max_wait`](crate::ProtectLayer::max_wait) is for that
/// layer only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxWait(Duration);

impl MaxWait {
    /// Creates a maximum. Less than a second means that no request waits.
    #[must_use]
    pub const fn new(at_most: Duration) -> Self {
        Self(at_most)
    }
}

/// Returns how long a request waits for approvers if the authority holds it, for
/// [`Ask::wait`](atlasent::authority::Ask::wait): the `wait` of its header `Prefer`, up to its
/// [`MaxWait`]. `None` if it does not wait.
///
/// ```
/// use std::time::Duration;
/// use atlasent_tower::{MaxWait, preferred_wait};
/// use http::Request;
///
/// let request = Request::get("/").header("prefer", "respond-async, wait=600");
/// let (mut request, ()) = request.body(()).unwrap().into_parts();
/// assert_eq!(preferred_wait(&request), None);
/// request.extensions.insert(MaxWait::new(Duration::from_secs(60)));
/// assert_eq!(preferred_wait(&request), Some(Duration::from_secs(60)));
/// ```
#[must_use]
pub fn preferred_wait(request: &Parts) -> Option<Duration> {
    let MaxWait(max) = request.extensions.get()?;
    let wait = wait_within(&request.headers, *max)?;
    if let Some(AppliedWait(Some(applied))) = request.extensions.get() {
        // An earlier permit of the same request has the same wait.
        let _ = applied.set(wait.as_secs());
    }
    Some(wait)
}

/// Returns the time that a caller prefers to wait, up to `max`, in whole seconds.
pub(crate) fn wait_within(headers: &HeaderMap, max: Duration) -> Option<Duration> {
    let max = max.as_secs();
    if max == 0 {
        return None;
    }
    match preferred_seconds(headers)?.min(max) {
        0 => None,
        seconds => Some(Duration::from_secs(seconds)),
    }
}

/// Whether a request for a permit waited as its caller prefers, for the header `Preference-Applied`
/// of the response.
#[derive(Clone, Debug, Default)]
pub struct AppliedWait(Option<Arc<OnceLock<u64>>>);

impl AppliedWait {
    /// Returns the value of a request, after [`RouteGuard::authorize`](crate::RouteGuard::authorize)
    /// returned. Keep it until the request is answered.
    #[must_use]
    pub fn of_request(request: &Parts) -> Self {
        request.extensions.get().cloned().unwrap_or_default()
    }

    /// Sets the maximum of a request in place of that of an outer service, and starts to record
    /// whether it was applied.
    pub(crate) fn start(request: &mut Parts, max: Duration) {
        request.extensions.remove::<Self>();
        if max.as_secs() == 0 {
            request.extensions.remove::<MaxWait>();
            return;
        }
        request.extensions.insert(MaxWait::new(max));
        if request.headers.contains_key(PREFER) {
            request.extensions.insert(Self(Some(Arc::default())));
        }
    }

    /// Adds the header `Preference-Applied` to the response, if the preference was applied.
    pub fn add_to<B>(&self, response: &mut Response<B>) {
        if let Some(seconds) = self.0.as_ref().and_then(|applied| applied.get()) {
            add_applied(response, *seconds);
        }
    }
}

/// Adds the header `Preference-Applied`.
pub(crate) fn add_applied<B>(response: &mut Response<B>, seconds: u64) {
    if let Ok(applied) = HeaderValue::try_from(format!("wait={seconds}")) {
        response.headers_mut().append(PREFERENCE_APPLIED, applied);
    }
}

/// Returns the seconds of the first `wait` of all `Prefer` headers. Only the first of several
/// counts (RFC 7240 §2), and one that is no number is ignored with all others.
fn preferred_seconds(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).iter();
    let mut preferences = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','));
    let value = preferences.find_map(|preference| {
        // Parameters may follow: none is defined for `wait`.
        let preference = split(preference, ';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim())
    })?;
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let digits = quoted.unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large is longer than any maximum.
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Splits a text at a separator outside of quoted strings, in which a backslash quotes a character.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        character == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        preferred_seconds(&headers)
    }

    #[test]
    fn the_wait_is_found_among_all_preferences() {
        for values in [
            &["wait=30"][..],
            &["WAIT=30"],
            &["wait = 30"],
            &["wait=\"30\""],
            &["wait=030"],
            &["respond-async, wait=30"],
            &["respond-async; a=b,wait=30; c"],
            &["respond-async", "handling=lenient, wait=30"],
            &["wait=30, wait=60"],
            &["wait=30", "wait=60"],
            &["x=\"a, wait=9\", wait=30"],
            &["x=\"a\\\", wait=9\", wait=30"],
            &["", ",,wait=30,"],
        ] {
            assert_eq!(seconds(values), Some(30), "{values:?}");
        }
        let large = "wait=99999999999999999999999";
        assert_eq!(seconds(&[large]), Some(u64::MAX));
    }

    #[test]
    fn a_preference_that_is_no_number_is_ignored() {
        for values in [
            &[][..],
            &[""],
            &["respond-async"],
            &["wait"],
            &["wait="],
            &["wait=\"\""],
            &["wait=-1"],
            &["wait=+1"],
            &["wait=1.5"],
            &["wait=1s"],
            &["wait=ten"],
            &["wait=x, wait=30"],
            &["await=30"],
            &["x; wait=30"],
            &["x=\"wait=30\""],
        ] {
            assert_eq!(seconds(values), None, "{values:?}");
        }
    }

    #[test]
    fn a_wait_is_bounded_and_in_whole_seconds() {
        let wait = |value: &str, max| {
            let mut headers = HeaderMap::new();
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
            wait_within(&headers, max)
        };
        let s = Duration::from_secs;
        assert_eq!(wait("wait=30", s(60)), Some(s(30)));
        assert_eq!(wait("wait=600", s(60)), Some(s(60)));
        assert_eq!(wait("wait=600", Duration::from_millis(1999)), Some(s(1)));
        assert_eq!(wait("wait=600", Duration::from_millis(999)), None);
        assert_eq!(wait("wait=600", s(0)), None);
        assert_eq!(wait("wait=0", s(60)), None);
        let forever = "wait=99999999999999999999999";
        assert_eq!(wait(forever, Duration::MAX), Some(s(u64::MAX)));
    }
}
