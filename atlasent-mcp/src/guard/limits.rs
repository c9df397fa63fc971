//! [`Limits`]: how much the clients and the server of a guard may use at a time.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Upstream;

/// The values that a count may have.
const COUNTS: RangeInclusive<usize> = 1..=65_536;
/// The values that the bytes of a stream may have: at most 1 GiB.
const BYTES: RangeInclusive<usize> = 1..=1024 * 1024 * 1024;
/// The shortest `session_idle`, because the guard looks for idle sessions once a minute.
const SHORTEST_IDLE: Duration = Duration::from_secs(60);

/// How much the clients and the server of a guard may use at a time.
///
/// The size of a message is not among them: it is the same on each side, and bounds what a message
/// costs before its sender is known.
///
/// ```
/// use atlasent_mcp::guard::limits::Limits;
///
/// let limits = Limits { sessions_per_agent: Some(4), ..Limits::default() };
/// assert_eq!(limits.requests, 256);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most sessions of an HTTP endpoint. The default is 256 for a server that is started by a
    /// command, since each session is a process, and 4,096 for a server over HTTP.
    pub sessions: Option<usize>,
    /// The most sessions of one agent, with all of its clients and delegates. The default is 64 for
    /// a server that is started by a command, and 512 for a server over HTTP, or `sessions` if that
    /// is less. A value above `sessions` is an error.
    pub sessions_per_agent: Option<usize>,
    /// How long an idle session over HTTP is kept: 30 minutes by default.
    pub session_idle: Duration,
    /// The most requests of the client without a response, in one session: 256 by default.
    pub requests: usize,
    /// The most requests of the server without a response, in one session: 64 by default.
    pub server_requests: usize,
    /// The most messages of a stream that are kept for a client that resumes it: 1,024 by default.
    pub resumable_messages: usize,
    /// The most bytes of these messages, and of those of all ended streams of a session: 4 MiB by
    /// default. A single message may be larger.
    pub resumable_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: None,
            sessions_per_agent: None,
            session_idle: Duration::from_secs(30 * 60),
            requests: 256,
            server_requests: 64,
            resumable_messages: 1_024,
            resumable_bytes: 4 * 1024 * 1024,
        }
    }
}

/// A limit that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` has to be {allowed}")]
pub struct LimitError {
    name: &'static str,
    allowed: String,
}

/// How much may be used at a time: by all agents, and by one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotLimits {
    pub(super) all: usize,
    pub(super) of_agent: usize,
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), LimitError> {
        for (name, value, allowed) in [
            ("sessions", self.sessions, COUNTS),
            ("sessions_per_agent", self.sessions_per_agent, COUNTS),
            ("requests", Some(self.requests), COUNTS),
            ("server_requests", Some(self.server_requests), COUNTS),
            ("resumable_messages", Some(self.resumable_messages), COUNTS),
            ("resumable_bytes", Some(self.resumable_bytes), BYTES),
        ] {
            if value.is_some_and(|value| !allowed.contains(&value)) {
                let allowed = format!("from {} to {}", allowed.start(), allowed.end());
                return Err(LimitError { name, allowed });
            }
        }
        if let (Some(all), Some(of_agent)) = (self.sessions, self.sessions_per_agent)
            && of_agent > all
        {
            return Err(LimitError {
                name: "sessions_per_agent",
                allowed: "at most `sessions`".to_owned(),
            });
        }
        match self.session_idle < SHORTEST_IDLE {
            true => Err(LimitError {
                name: "session_idle",
                allowed: "at least a minute".to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Returns the limits of sessions with a server.
    pub(super) fn of_sessions(&self, upstream: &Upstream) -> SlotLimits {
        let (all, of_agent) = match upstream {
            Upstream::Command(_) => (256, 64),
            Upstream::Http(_) => (4_096, 512),
        };
        let all = self.sessions.unwrap_or(all);
        SlotLimits {
            all,
            of_agent: self.sessions_per_agent.unwrap_or(of_agent).min(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_zero_or_too_large_is_refused_by_its_name() {
        assert_eq!(Limits::default().check(), Ok(()));
        let sessions = |all, of_agent| Limits {
            sessions: all,
            sessions_per_agent: of_agent,
            ..Limits::default()
        };
        let requests = |of_client, of_server| Limits {
            requests: of_client,
            server_requests: of_server,
            ..Limits::default()
        };
        let kept = |messages, bytes| Limits {
            resumable_messages: messages,
            resumable_bytes: bytes,
            ..Limits::default()
        };
        let idle = |seconds| Limits {
            session_idle: Duration::from_secs(seconds),
            ..Limits::default()
        };
        for (limits, error) in [
            (
                sessions(Some(0), None),
                "`sessions` has to be from 1 to 65536",
            ),
            (
                sessions(None, Some(65_537)),
                "`sessions_per_agent` has to be from 1 to 65536",
            ),
            (
                sessions(Some(2), Some(3)),
                "`sessions_per_agent` has to be at most `sessions`",
            ),
            (requests(0, 1), "`requests` has to be from 1 to 65536"),
            (
                requests(1, 0),
                "`server_requests` has to be from 1 to 65536",
            ),
            (kept(0, 1), "`resumable_messages` has to be from 1 to 65536"),
            (
                kept(1, usize::MAX),
                "`resumable_bytes` has to be from 1 to 1073741824",
            ),
            (idle(59), "`session_idle` has to be at least a minute"),
        ] {
            assert_eq!(limits.check().unwrap_err().to_string(), error);
        }
        for limits in [
            sessions(Some(2), Some(2)),
            requests(1, 1),
            kept(1, 1),
            idle(60),
        ] {
            assert_eq!(limits.check(), Ok(()));
        }
    }
}
