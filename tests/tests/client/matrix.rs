//! The fail-closed matrix over real sockets: for every response to either call, by every way to
//! ask, the body runs exactly if both answers are genuine.

use std::collections::BTreeMap;
use std::env;
use std::sync::Mutex;
use std::thread;

use atlasent::protected_action::{ProtectedAction, require_permit};
use atlasent::testing::VirtualTime;
use atlasent::{Client, Error, blocking};
use atlasent_tests::Ran;
use atlasent_tests::server::Reply;
use futures_util::StreamExt;
use futures_util::stream;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::cases::{ACTION, AGENT, Call, Case, Says};
use crate::paths::{AsyncPath, SyncPath, action, async_paths, sync_paths};
use crate::stage::{Set, Stage};
use crate::support::{client, http2_client, ms};

/// The number of retries of these clients.
const RETRIES: usize = 2;
/// The number of random cases, unless `ATLASENT_MATRIX_CASES` sets another.
const RANDOM: usize = 6_000;
const SEED: [u8; 32] = *b"a body runs when both say yes ok";
/// The number of concurrent cases, for async and for blocking calls each.
const AT_ONCE: usize = 16;

/// The responses to all attempts of the two calls of one case.
#[derive(Clone, Debug)]
struct Encounter {
    evaluate: Vec<Case>,
    verify: Vec<Case>,
    http2: bool,
    /// Picks the way to ask.
    path: usize,
}

/// The expected result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Must {
    Run,
    Refuse,
    Fail,
}

/// Returns the result of the attempts of one call, and their number.
fn meaning(attempts: &[Case]) -> (Says, usize) {
    let within = attempts.get(..=RETRIES).unwrap_or(attempts);
    match within.iter().position(|case| case.says != Says::Again) {
        Some(at) => (within[at].says, at + 1),
        None => (Says::Fails, within.len()),
    }
}

impl Encounter {
    fn oracle(&self) -> (Must, [usize; 2]) {
        let (evaluate, first) = meaning(&self.evaluate);
        let (verify, second) = meaning(&self.verify);
        match (evaluate, verify) {
            (Says::Yes, Says::Yes) => (Must::Run, [first, second]),
            (Says::Yes, Says::No) => (Must::Refuse, [first, second]),
            (Says::Yes, _) => (Must::Fail, [first, second]),
            (Says::No, _) => (Must::Refuse, [first, 0]),
            _ => (Must::Fail, [first, 0]),
        }
    }

    fn stalls(&self) -> bool {
        self.evaluate
            .iter()
            .chain(&self.verify)
            .any(|case| case.stalls)
    }

    fn client(&self, url: &str) -> Client {
        let builder = match self.http2 {
            true => http2_client(url),
            false => client(url),
        };
        let builder = builder
            .max_retries(RETRIES as u32)
            .virtual_time(&VirtualTime::new());
        // A response must never be late, so the timeout is short only for cases without a response.
        match self.stalls() {
            true => builder.timeout(ms(60)),
            false => builder,
        }
        .build()
        .unwrap()
    }

    fn set<'a>(&self, stages: &'a Stages) -> Set<'a> {
        let stage = match self.http2 {
            true => &stages.http2,
            false => &stages.http1[self.path % 2],
        };
        let replies = |cases: &[Case]| cases.iter().map(|case| case.reply.clone()).collect();
        stage.set(replies(&self.evaluate), replies(&self.verify))
    }

    /// Compares the result with the expected one.
    fn check(
        &self,
        path: &str,
        happened: &Result<(), Error>,
        ran: &Ran,
        set: &Set<'_>,
    ) -> Result<Must, String> {
        let (must, asked) = self.oracle();
        let did = match happened {
            Ok(()) => Must::Run,
            Err(Error::Denied(_)) => Must::Refuse,
            Err(Error::Failed(_)) => Must::Fail,
            Err(other) => return Err(format!("{}, by {path}: {other}", self.description())),
        };
        let late = self.stalls() && did == Must::Fail;
        let agrees = ran.count() == usize::from(did == Must::Run)
            // With a short timeout, a valid response may be late.
            && (did == must || late)
            && (self.stalls() || set.asked() == asked);
        match agrees {
            true => Ok(did),
            false => Err(format!(
                "{}, by {path}: had to {must:?} after {asked:?} requests, ran the body {} times after {:?}: {happened:?}",
                self.description(),
                ran.count(),
                set.asked(),
            )),
        }
    }

    fn description(&self) -> String {
        let names = |cases: &[Case]| {
            cases
                .iter()
                .map(|case| case.name.clone())
                .collect::<Vec<_>>()
        };
        let protocol = if self.http2 { "HTTP/2" } else { "HTTP/1.1" };
        format!(
            "{protocol}: {:?}, then {:?}",
            names(&self.evaluate),
            names(&self.verify)
        )
    }
}

struct Stages {
    // A client uses a new port for nearly every case, and the ports to a single server would run
    // out.
    http1: [Stage; 2],
    http2: Stage,
}

impl Stages {
    fn new() -> Self {
        Self {
            http1: [Stage::http1(), Stage::http1()],
            http2: Stage::http2(),
        }
    }

    fn strayed(&self) -> usize {
        let [first, second] = &self.http1;
        first.strayed() + second.strayed() + self.http2.strayed()
    }
}

/// All async ways to ask: those of every authority, and one with its own action.
fn all_async_paths() -> Vec<(&'static str, AsyncPath<Client>)> {
    let mut paths = async_paths::<Client>();
    paths.push(("require_permit", |client, ran| {
        Box::pin(require_permit(client, protected(), async |_permit| {
            ran.hit();
            Ok(())
        }))
    }));
    paths
}

type Asks = fn(&Client, &Ran) -> Result<(), Error>;

/// All blocking ways to ask: those of every authority, and the blocking client's own.
fn all_sync_paths() -> Vec<(&'static str, SyncPath<Client>)> {
    let own: [(&'static str, Asks); 5] = [
        ("blocking::Client::protect", |client, ran| {
            blocking_client(client)
                .protect(AGENT, action())
                .map(|_permit| ran.hit())
        }),
        ("blocking::Client::with_permit", |client, ran| {
            blocking_client(client).with_permit(AGENT, action(), |_permit| {
                ran.hit();
                Ok(())
            })
        }),
        ("blocking::Client::gate", |client, ran| {
            blocking_client(client)
                .gate(AGENT, action())
                .map(|_gate| ran.hit())
        }),
        ("blocking::Client::require_permit", |client, ran| {
            blocking_client(client).require_permit(protected(), |_permit| {
                ran.hit();
                Ok(())
            })
        }),
        ("blocking::Client as an authority", |client, ran| {
            let (_, ask) = sync_paths::<blocking::Client>()[0];
            ask(&blocking_client(client), ran)
        }),
    ];
    let mut paths = sync_paths::<Client>();
    paths.extend(own);
    paths
}

fn blocking_client(client: &Client) -> blocking::Client {
    blocking::Client::from(client.clone())
}

fn protected() -> ProtectedAction {
    ProtectedAction::new(ACTION, AGENT, "cluster-7", "production").unwrap()
}

/// Counts the results of all encounters, and collects the mismatches.
#[derive(Default)]
struct Tally {
    counts: Mutex<BTreeMap<Must, usize>>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, checked: Result<Must, String>) {
        match checked {
            Ok(did) => *self.counts.lock().unwrap().entry(did).or_default() += 1,
            Err(wrong) => self.wrong.lock().unwrap().push(wrong),
        }
    }
}

/// Runs all encounters: the async ones in one runtime, the blocking ones on plain threads.
fn meet_all(encounters: &[Encounter]) -> BTreeMap<Must, usize> {
    let stages = &Stages::new();
    let tally = &Tally::default();
    let (asynchronous, synchronous) = (&all_async_paths(), &all_sync_paths());
    let ways = asynchronous.len() + synchronous.len();
    let (first, second): (Vec<_>, Vec<_>) = encounters
        .iter()
        .partition(|encounter| encounter.path % ways < asynchronous.len());
    let second = &Mutex::new(second.into_iter());

    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(move || {
                let next = || second.lock().unwrap().next();
                while let Some(encounter) = next() {
                    let (path, ask) = synchronous[encounter.path % ways - asynchronous.len()];
                    let (set, ran) = (encounter.set(stages), Ran::new());
                    let happened = ask(&encounter.client(&set.url), &ran);
                    tally.count(encounter.check(path, &happened, &ran, &set));
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(
            stream::iter(first).for_each_concurrent(AT_ONCE, |encounter| {
                let (path, ask) = asynchronous[encounter.path % ways];
                async move {
                    let (set, ran) = (encounter.set(stages), Ran::new());
                    let client = encounter.client(&set.url);
                    let happened = ask(&client, &ran).await;
                    tally.count(encounter.check(path, &happened, &ran, &set));
                }
            }),
        );
    });

    let wrong = tally.wrong.lock().unwrap();
    let some: Vec<_> = wrong.iter().take(40).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        encounters.len(),
        some.join("\n")
    );
    assert_eq!(stages.strayed(), 0, "something else was asked for");
    tally.counts.lock().unwrap().clone()
}

/// Returns a minimal allow of this call.
fn plain_yes(call: Call) -> Case {
    Case::new("yes", Reply::json(200, call.yes()), Says::Yes)
}

#[test]
fn each_fault_of_each_call_is_met_by_every_way_to_ask() {
    let ways = all_async_paths().len() + all_sync_paths().len();
    let mut encounters = Vec::new();
    for call in Call::BOTH {
        for case in call.cases() {
            for http2 in [false, true] {
                if http2 && case.http1_only {
                    continue;
                }
                // A retried response is repeated until the attempts are used up.
                let attempts = vec![case.clone(); RETRIES + 1];
                let (evaluate, verify) = match call {
                    Call::Evaluate => (attempts, vec![plain_yes(Call::Verify)]),
                    Call::Verify => (vec![plain_yes(Call::Evaluate)], attempts),
                };
                // Every way over HTTP/1.1; over HTTP/2, whose code is the same for all ways, some
                // async and some blocking ones.
                for path in (0..ways).step_by(if http2 { 5 } else { 1 }) {
                    encounters.push(Encounter {
                        evaluate: evaluate.clone(),
                        verify: verify.clone(),
                        http2,
                        path,
                    });
                }
            }
        }
    }
    let counts = meet_all(&encounters);
    println!("{} encounters: {counts:?}", encounters.len());
    assert!(
        counts.values().all(|count| *count > 500),
        "one-sided: {counts:?}"
    );
}

/// Generates the attempts of one call: some that are retried, and a final one.
fn attempts(call: Call, http2: bool) -> impl Strategy<Value = Vec<Case>> {
    let mut cases = call.cases().to_vec();
    cases.retain(|case| !(http2 && case.http1_only));
    let of = |says| -> Vec<Case> {
        cases
            .iter()
            .filter(|case| case.says == says)
            .cloned()
            .collect()
    };
    let (stalling, again): (Vec<_>, Vec<_>) =
        of(Says::Again).into_iter().partition(|case| case.stalls);
    let again = prop_oneof![30 => select(again), 1 => select(stalling)];
    let repeated = prop_oneof![6 => Just(0), 2 => Just(1), 1 => Just(2), 1 => Just(3)]
        .prop_flat_map(move |count: usize| prop::collection::vec(again.clone(), count));
    let last = prop_oneof![
        8 => select(of(Says::Yes)),
        2 => select(of(Says::No)),
        3 => select(of(Says::Fails)),
    ];
    (repeated, last).prop_map(|(mut attempts, last)| {
        attempts.push(last);
        attempts
    })
}

fn encounter() -> impl Strategy<Value = Encounter> {
    let over = |http2| {
        let calls = (
            attempts(Call::Evaluate, http2),
            attempts(Call::Verify, http2),
            any::<u16>(),
        );
        calls.prop_map(move |(evaluate, verify, path)| Encounter {
            evaluate,
            verify,
            http2,
            path: path.into(),
        })
    };
    prop_oneof![3 => over(false), 1 => over(true)]
}

#[test]
fn whatever_comes_in_whatever_order_the_body_runs_exactly_when_both_answers_are_genuine() {
    let cases = env::var("ATLASENT_MATRIX_CASES").map_or(RANDOM, |cases| cases.parse().unwrap());
    println!("seed: {:?}", String::from_utf8_lossy(&SEED));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let encounter = encounter();
    let mut left = cases;
    let mut total: BTreeMap<Must, usize> = BTreeMap::new();
    while left > 0 {
        let some = left.min(RANDOM);
        let encounters: Vec<_> =
            std::iter::repeat_with(|| encounter.new_tree(&mut runner).unwrap().current())
                .take(some)
                .collect();
        for (did, count) in meet_all(&encounters) {
            *total.entry(did).or_default() += count;
        }
        left -= some;
    }
    println!("{cases} encounters: {total:?}");
    assert!(
        total.values().all(|count| *count > cases / 10),
        "one-sided: {total:?}"
    );
}
