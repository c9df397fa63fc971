//! Tests nested protected functions: what each level adds to the future and to the stack.

use std::mem::size_of_val;
use std::thread;

use atlasent::protected_action::{ProtectedAction, require_permit};
use atlasent::testing::MockAuthority;
use atlasent::{AnyAction, AuthorityExt as _, Error, Permit, protect};
use futures_executor::block_on;

/// The most bytes that one level may add to the future below it.
const PER_LEVEL: usize = 1024;

/// The stack of a worker thread of `tokio`.
const WORKER_STACK: usize = 2 << 20;

const LEAF: usize = 4096;

/// The innermost body, which keeps 4 KB while it waits.
async fn leaf() -> Result<u64, Error> {
    let kept = std::hint::black_box([1_u8; LEAF]);
    std::future::ready(()).await;
    Ok(kept.iter().copied().map(u64::from).sum())
}

async fn depth_0(_: &MockAuthority) -> Result<u64, Error> {
    leaf().await
}

/// Declares a function for each level, which calls the level below.
macro_rules! nested {
    ($(#[$protect:meta] $level:ident($mock:ident $(, $permit:ident)?) calls $inner:ident;)*) => {
        $(
            #[$protect]
            async fn $level($mock: &MockAuthority, $($permit: Permit)?) -> Result<u64, Error> {
                $(assert_eq!($permit.agent().as_str(), "bot");)?
                $inner($mock).await
            }
        )*

        /// Returns the size of the future of each level, from the leaf up.
        fn sizes(mock: &MockAuthority) -> Vec<usize> {
            vec![size_of_val(&depth_0(mock)), $(size_of_val(&$level(mock))),*]
        }
    };
}

nested! {
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_1(mock) calls depth_0;
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_2(mock, permit) calls depth_1;
    #[protect(action = "deploy", agent = "bot", authority = mock, context = { level: 3 })]
    depth_3(mock) calls depth_2;
    #[protect(action = AnyAction::new("deploy")?, agent = "bot", authority = mock)]
    depth_4(mock, permit) calls depth_3;
    #[protect(action = "deploy", agent = "bot", authority = mock, request = |r| r.explain(true))]
    depth_5(mock) calls depth_4;
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_6(mock) calls depth_5;
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_7(mock, permit) calls depth_6;
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_8(mock) calls depth_7;
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_9(mock) calls depth_8;
    #[protect(action = "deploy", agent = "bot", authority = mock)]
    depth_10(mock) calls depth_9;
}

fn mock() -> MockAuthority {
    MockAuthority::new().allow("deploy")
}

#[track_caller]
fn assert_small_growth(sizes: &[usize]) {
    assert!(sizes.iter().all(|size| *size >= LEAF), "{sizes:?}");
    for (inner, level) in sizes.iter().zip(sizes.iter().skip(1)) {
        assert!(*level <= inner + PER_LEVEL, "{sizes:?}");
    }
}

#[test]
fn each_level_of_protected_functions_adds_a_small_constant() {
    let sizes = sizes(&mock());
    assert_eq!(sizes.len(), 11);
    assert_small_growth(&sizes);
}

#[test]
fn each_level_of_with_permit_adds_a_small_constant() {
    let mock = &mock();
    let ask = || mock.ask("bot", AnyAction::new("deploy").unwrap());
    let first = || ask().with_permit(|_| leaf());
    let second = || mock.with_permit("bot", AnyAction::new("deploy").unwrap(), |_| first());
    let third = || ask().with_permit(|_| second());
    let fourth = || {
        let action = ProtectedAction::new("deploy", "bot", "cluster-7", "production").unwrap();
        require_permit(mock, action, |_| third())
    };
    let sizes = [
        size_of_val(&leaf()),
        size_of_val(&first()),
        size_of_val(&second()),
        size_of_val(&third()),
        size_of_val(&fourth()),
    ];
    assert_small_growth(&sizes);
    assert_eq!(block_on(fourth()).unwrap(), LEAF as u64);
}

#[test]
fn a_future_that_a_body_captures_is_kept_once() {
    let mock = &mock();
    let ask = || mock.ask("bot", AnyAction::new("deploy").unwrap());
    let first = ask().with_permit(|_| leaf());
    let second = ask().with_permit(|_| first);
    let future = ask().with_permit(|_| second);
    let size = size_of_val(&future);
    // Each level also has its request to the authority. If the captured future were kept twice, its
    // size would double at each level.
    assert!(size < 2 * size_of_val(&leaf()) + 3 * PER_LEVEL, "{size}");
    assert_eq!(block_on(future).unwrap(), LEAF as u64);
}

#[test]
fn eleven_levels_run_on_the_stack_of_a_worker() {
    let worker = thread::Builder::new().stack_size(WORKER_STACK);
    let ran = worker.spawn(|| block_on(depth_10(&mock()))).unwrap();
    assert_eq!(ran.join().unwrap().unwrap(), LEAF as u64);
}
