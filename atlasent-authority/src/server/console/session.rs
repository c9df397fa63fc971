//! The sessions of the console: who is logged in, since when, and until when.
//!
//! The browser holds a random id, and this process its SHA-256, so a dump of the table is no login.
//! A session names its API key by the digest, and each request looks the key up again: a
//! revoked key ends its sessions, and a vote counts by the roles that the key has then. The session
//! of a person of an OpenID Connect issuer has the roles of the login instead, and ends in time.
//! Sessions are kept in memory, so they end with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::keys::{ApiKey, KeyDigest};
use crate::ledger::replay::random_bits;
use crate::server::api_error::ApiError;
use crate::share::{may_take, places_for};
use crate::store::OrgId;

/// How long a session lasts without a page or a form.
const IDLE: SignedDuration = SignedDuration::from_mins(30);

/// How long a session lasts at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(12);

/// How many sessions one organization has at a time.
const MAX_SESSIONS: usize = 4_096;

/// How many sessions there are at a time. They are [shared out](crate::share) among the
/// organizations, so that the people of one organization leave sessions to those of the others.
const PLACES: usize = places_for(MAX_SESSIONS);

/// How many sessions one API key has at a time. A further login ends its oldest one.
const MAX_PER_KEY: usize = 16;

/// The sessions of a server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: Mutex<HashMap<SessionDigest, Held>>,
}

/// The SHA-256 of a session's id.
type SessionDigest = [u8; 32];

#[derive(Debug)]
struct Held {
    session: Arc<Session>,
    started: Timestamp,
    used: Timestamp,
}

/// One login of an approver.
#[derive(Debug)]
pub(in crate::server) struct Session {
    digest: SessionDigest,
    /// The digest of the API key that logged in, or of the person.
    pub(super) key: KeyDigest,
    /// The key that stands for a person who logged in at an OpenID Connect issuer. It expires with
    /// the session. Unset for a login with an API key.
    pub(super) person: Option<Arc<ApiKey>>,
    /// The organization that the API key belonged to at login.
    pub(super) org: OrgId,
    /// The token that each form of the session repeats.
    csrf: SecretString,
}

impl Sessions {
    /// Starts a session of an API key. Returns its id, which only the browser keeps.
    pub(super) fn start(&self, key: &ApiKey, now: Timestamp) -> Result<SecretString, ApiError> {
        self.insert(key, None, now)
    }

    /// Starts a session of a person who logged in at an OpenID Connect issuer. `key` stands for the
    /// person, and the session lasts as long as it.
    #[cfg(feature = "oidc")]
    pub(super) fn start_of_person(
        &self,
        key: Arc<ApiKey>,
        now: Timestamp,
    ) -> Result<SecretString, ApiError> {
        self.insert(&key, Some(Arc::clone(&key)), now)
    }

    fn insert(
        &self,
        key: &ApiKey,
        person: Option<Arc<ApiKey>>,
        now: Timestamp,
    ) -> Result<SecretString, ApiError> {
        let id = random_token()?;
        let digest = digest_of(id.expose_secret());
        let session = Arc::new(Session {
            digest,
            key: key.digest,
            person,
            org: key.org_id.clone(),
            csrf: random_token()?,
        });
        let mut held = self.lock();
        held.retain(|_, held| held.lasts(now));
        let own = |held: &&Held| held.session.key == key.digest;
        if held.values().filter(own).count() >= MAX_PER_KEY {
            let oldest = held.values().filter(own).min_by_key(|held| held.started);
            if let Some(oldest) = oldest.map(|held| held.session.digest) {
                held.remove(&oldest);
            }
        }
        let of_org = held.values().filter(|held| held.session.org == key.org_id);
        if !may_take(of_org.count(), PLACES.saturating_sub(held.len())) {
            return Err(ApiError::unavailable(
                "TOO_MANY_SESSIONS",
                "too many people are logged in: try again later",
            ));
        }
        let (started, used) = (now, now);
        held.insert(
            digest,
            Held {
                session,
                started,
                used,
            },
        );
        Ok(id)
    }

    /// Returns the session with an id. `None` for an unknown or expired one. The refresh of a list
    /// does not extend the session: an abandoned page would keep it alive.
    pub(super) fn find(&self, id: &str, is_refresh: bool, now: Timestamp) -> Option<Arc<Session>> {
        let digest = digest_of(id);
        let mut sessions = self.lock();
        let held = sessions.get_mut(&digest)?;
        if !held.lasts(now) {
            sessions.remove(&digest);
            return None;
        }
        if !is_refresh {
            held.used = now;
        }
        Some(Arc::clone(&held.session))
    }

    /// Ends a session.
    pub(super) fn end(&self, session: &Session) {
        self.lock().remove(&session.digest);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionDigest, Held>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Returns whether the session still lasts. A clock that was set back to before the last use
    /// ends it, since its times say nothing any more.
    fn lasts(&self, now: Timestamp) -> bool {
        let idle = now.duration_since(self.used);
        !idle.is_negative() && idle < IDLE && now.duration_since(self.started) < LONGEST
    }
}

impl Session {
    /// The token that each form of the session repeats.
    pub(super) fn csrf(&self) -> &str {
        self.csrf.expose_secret()
    }

    /// Returns what stands for the API key where callers have one. The console asks for no permit,
    /// so nothing is derived from it.
    pub(super) fn secret(&self) -> SecretString {
        self.csrf.clone()
    }

    /// Returns whether a form repeats the session's token. Takes the same time for each wrong one.
    pub(super) fn has_csrf(&self, sent: &str) -> bool {
        same_token(self.csrf(), sent)
    }
}

/// Compares two tokens in constant time. Hashing them first hides their lengths, too.
pub(super) fn same_token(one: &str, other: &str) -> bool {
    bool::from(digest_of(one).ct_eq(&digest_of(other)))
}

/// Returns 256 random bits as text.
pub(super) fn random_token() -> Result<SecretString, ApiError> {
    Ok(Base64UrlUnpadded::encode_string(&random_bits()?).into())
}

/// The SHA-256 of an id. Looking it up tells an attacker nothing about ids that are close.
fn digest_of(id: &str) -> SessionDigest {
    Sha256::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyEnvironment;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    fn key() -> ApiKey {
        ApiKey::generate(KeyEnvironment::Test).unwrap().0
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_its_time_is_over() {
        let sessions = Sessions::default();
        let id = sessions.start(&key(), at(0)).unwrap();
        let lasts = |minutes| {
            sessions
                .find(id.expose_secret(), false, at(minutes))
                .is_some()
        };
        assert!(lasts(29));
        assert!(lasts(58), "the last use counts");
        let mut now = 58;
        while now + 29 < 12 * 60 {
            now += 29;
            assert!(lasts(now), "{now}");
        }
        assert!(!lasts(12 * 60), "the absolute limit");
        assert!(!lasts(now), "an ended session stays ended");
        assert!(sessions.lock().is_empty());

        let idle = sessions.start(&key(), at(0)).unwrap();
        assert!(
            sessions.find(idle.expose_secret(), true, at(29)).is_some(),
            "a refresh counts for nothing"
        );
        assert!(sessions.find(idle.expose_secret(), false, at(30)).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_ends_sessions() {
        let sessions = Sessions::default();
        let id = sessions.start(&key(), at(100)).unwrap();
        assert!(sessions.find(id.expose_secret(), false, at(99)).is_none());
        assert!(sessions.find(id.expose_secret(), false, at(100)).is_none());
    }

    #[test]
    fn a_key_has_few_sessions_and_no_key_takes_those_of_another() {
        let sessions = Sessions::default();
        let (busy, other) = (key(), key());
        let kept = sessions.start(&other, at(0)).unwrap();
        let all: Vec<_> = (0..=MAX_PER_KEY)
            .map(|n| {
                sessions
                    .start(&busy, at(1 + i64::try_from(n).unwrap()))
                    .unwrap()
            })
            .collect();
        let lasts = |id: &SecretString| sessions.find(id.expose_secret(), false, at(20)).is_some();
        assert!(lasts(&kept));
        assert!(!lasts(&all[0]), "the oldest one has ended");
        assert!(all[1..].iter().all(lasts));
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_expired_ones_make_room() {
        let sessions = Sessions::default();
        for _ in 0..MAX_SESSIONS {
            sessions.start(&key(), at(0)).unwrap();
        }
        let error = sessions.start(&key(), at(1)).unwrap_err();
        assert_eq!(error.code, "TOO_MANY_SESSIONS");
        assert!(sessions.start(&key(), at(60)).is_ok());
    }

    #[test]
    fn the_people_of_one_organization_leave_sessions_to_those_of_another() {
        let sessions = Sessions::default();
        let key_of = |org: &str| {
            let mut key = key();
            key.org_id = org.parse().unwrap();
            key
        };
        for _ in 0..MAX_SESSIONS {
            sessions.start(&key_of("acme"), at(0)).unwrap();
        }
        let error = sessions.start(&key_of("acme"), at(0)).unwrap_err();
        assert_eq!(error.code, "TOO_MANY_SESSIONS");
        assert!(sessions.start(&key_of("globex"), at(0)).is_ok());
    }

    #[test]
    fn the_table_has_no_id_and_no_output_has_a_token() {
        let sessions = Sessions::default();
        let id = sessions.start(&key(), at(0)).unwrap();
        let session = sessions.find(id.expose_secret(), false, at(0)).unwrap();
        assert_eq!(id.expose_secret().len(), 43);
        assert!(!format!("{sessions:?}").contains(id.expose_secret()));
        assert!(!format!("{sessions:?}").contains(session.csrf()));
        assert!(session.has_csrf(session.csrf()));
        assert!(!session.has_csrf(""));
        assert!(!session.has_csrf(session.csrf().get(1..).unwrap()));
    }
}
