//! The load: connections that evaluate and verify, one pair after the other.
//!
//! The client shares the machine with the server, so it does little work: requests are built once,
//! and only the status, the length and the token of an answer are read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::question;

/// How long the load runs, and over how many connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// How many organizations the connections ask for; 0 for `local` alone. A connection belongs to
    /// one, or asks for several in turn if there are more organizations than connections.
    pub(super) organizations: usize,
    /// The time at the start that is not measured.
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

/// The durations of pairs, shortest first.
#[derive(Debug)]
pub(super) struct Pairs {
    sorted: Vec<Duration>,
    measured: Duration,
}

impl Load {
    /// Runs the load against the servers. They take the connections of `local` in turn. Each other
    /// organization has one server, if the number of servers divides that of the connections.
    pub(super) fn run(self, servers: &[SocketAddr]) -> Pairs {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut sorted: Vec<_> = runtime.block_on(async {
            let begin = Instant::now() + self.warm_up;
            let end = begin + self.measured;
            let tasks: Vec<_> = (0..self.connections)
                .map(|number| {
                    let own = self.organizations_of(number);
                    let server = servers[own.first().unwrap_or(&number) % servers.len()];
                    tokio::spawn(ask(server, own, None, (begin, end)))
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all
        });
        sorted.sort_unstable();
        Pairs {
            sorted,
            measured: self.measured,
        }
    }
}

impl Load {
    /// Returns the organizations that a connection asks for.
    fn organizations_of(self, connection: usize) -> Vec<usize> {
        let Some(first) = connection.checked_rem(self.organizations) else {
            return Vec::new();
        };
        // 3 connections and 8 organizations: the first connection asks for 0, 3 and 6.
        (first..self.organizations)
            .step_by(self.connections)
            .collect()
    }
}

impl Pairs {
    pub(super) fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.measured.as_secs_f64()
    }

    /// Returns the duration within which this share of the pairs ended.
    pub(super) fn within(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.sorted.get(place).copied().unwrap_or_default()
    }
}

/// The requests of one organization.
struct Requests {
    evaluate: Vec<u8>,
    /// The request around the token.
    verify: (Vec<u8>, Vec<u8>),
}

impl Requests {
    fn new(organization: Option<usize>) -> Self {
        let key = question::api_key(organization);
        Self {
            evaluate: question::evaluate(&key),
            verify: question::verify(&key, TOKEN_LENGTH),
        }
    }
}

/// Runs pair after pair over one connection, or begins one in each period of `pace`. Returns the
/// durations of those that ended while the time was measured.
pub(super) async fn ask(
    server: SocketAddr,
    organizations: Vec<usize>,
    pace: Option<Duration>,
    (begin, end): (Instant, Instant),
) -> Vec<Duration> {
    let mut connection = Connection::to(server).await;
    let mut pace = pace.map(tokio::time::interval);
    if let Some(pace) = &mut pace {
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let organizations = organizations.into_iter().map(Some);
    let mut requests: Vec<_> = organizations.map(Requests::new).collect();
    if requests.is_empty() {
        requests.push(Requests::new(None));
    }
    let mut requests = requests.iter().cycle();
    let mut verify = Vec::new();
    let mut times = Vec::new();
    loop {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let started = Instant::now();
        let Some(Requests {
            evaluate,
            verify: (before, after),
        }) = requests.next()
        else {
            return times;
        };
        verify.clone_from(before);
        verify.extend_from_slice(token(connection.exchange(evaluate).await));
        verify.extend_from_slice(after);
        let answer = connection.exchange(&verify).await;
        assert!(
            place_behind(answer, br#""valid":true"#).is_some(),
            "the permit is not good: {}",
            String::from_utf8_lossy(answer)
        );
        let now = Instant::now();
        if now > end {
            return times;
        }
        if now >= begin {
            times.push(now - started);
        }
    }
}

/// The length of `permit_` and 256 bits in hex.
const TOKEN_LENGTH: usize = 71;

fn token(answer: &[u8]) -> &[u8] {
    let name = br#""permit_token":""#;
    let place = place_behind(answer, name).unwrap_or_else(|| {
        panic!("there is no permit: {}", String::from_utf8_lossy(answer));
    });
    &answer[place..place + TOKEN_LENGTH]
}

/// One connection that is kept alive.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn to(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::with_capacity(8 * 1024),
        }
    }

    /// Sends a request, and returns the body of its answer.
    async fn exchange(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server has closed the connection");
            if let Some(body) = body(&self.buffer) {
                return &self.buffer[body..];
            }
        }
    }
}

/// Returns where the body of an answer starts, once the answer is complete.
fn body(answer: &[u8]) -> Option<usize> {
    let begin = place_behind(answer, b"\r\n\r\n")?;
    let head = &answer[..begin];
    assert!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(answer)
    );
    let digits = &head[place_behind(head, b"content-length: ").unwrap()..];
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
    (answer.len() >= begin + length).then_some(begin)
}

fn place_behind(text: &[u8], part: &[u8]) -> Option<usize> {
    let place = text.windows(part.len()).position(|window| window == part)?;
    Some(place + part.len())
}
