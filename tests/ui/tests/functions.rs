//! Free functions of every signature: async and sync, generic, borrowing, with patterns and `impl
//! Trait`.
#![deny(warnings)]

mod support;

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use atlasent::authority::DynAuthority;
use atlasent::testing::MockAuthority;
use atlasent::{Error, Permit, protect};
use futures_executor::block_on;
use serde::Serialize;
use support::{asked, refused};

#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
async fn free(authority: &MockAuthority, commit: &str, permit: Permit) -> Result<String, Error> {
    Ok(format!("{commit} by {}", permit.agent()))
}

#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
fn sync(authority: &MockAuthority, commit: &str, permit: Permit) -> Result<String, Error> {
    Ok(format!("{commit} by {}", permit.agent()))
}

#[protect(action = "deploy", agent = "bot", context = { value, count: N }, authority = authority)]
pub(crate) async fn generic<T, U, const N: usize>(
    authority: &MockAuthority,
    value: T,
    other: U,
) -> Result<(T, U), Error>
where
    T: Serialize + Debug + Clone,
    U: Default + PartialEq,
{
    assert!(other == U::default());
    Ok((value.clone(), other))
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn borrowing<'a, 'b: 'a>(
    authority: &MockAuthority,
    first: &'a str,
    second: &'b str,
) -> Result<&'a str, Error> {
    Ok(if first.is_empty() { second } else { first })
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn borrowing_mutably<'a>(
    authority: &MockAuthority,
    list: &'a mut Vec<u8>,
) -> Result<&'a mut u8, Error> {
    list.push(1);
    Ok(list.last_mut().unwrap())
}

#[protect(action = "deploy", agent = "bot", context = { items: items.len() }, authority = authority)]
async fn impl_trait(
    authority: &MockAuthority,
    items: impl ExactSizeIterator<Item = u8>,
    name: impl Display,
) -> Result<impl Iterator<Item = String>, Error> {
    Ok(items.map(move |item| format!("{name}{item}")))
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn impl_trait_sync(
    authority: &MockAuthority,
    up_to: u8,
) -> Result<(impl Iterator<Item = u8> + use<>, u8), Error> {
    if up_to == 0 {
        return Ok((0..1, 0));
    }
    Ok((0..up_to, up_to))
}

struct Deploy {
    commit: String,
    replicas: u32,
}

#[protect(action = "deploy", agent = agent, context = { commit, replicas: *replicas, first }, authority = authority)]
async fn patterns(
    authority: &MockAuthority,
    Deploy {
        commit,
        ref replicas,
    }: Deploy,
    (agent, [first, .., mut last]): (&str, [u8; 4]),
    &(unused, _): &(u8, u8),
    _: u8,
) -> Result<(String, u32, u8), Error> {
    last += unused;
    Ok((commit, *replicas, first + last))
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn patterns_sync(authority: &MockAuthority, (mut a, b): (u8, u8), mut c: u8) -> Result<u8, Error> {
    a += b;
    c += a;
    Ok(c)
}

/// # Safety
///
/// `pointer` is valid.
#[protect(action = "deploy", agent = "bot", authority = authority)]
unsafe fn unsafe_fn(authority: &MockAuthority, pointer: *const u8) -> Result<u8, Error> {
    Ok(unsafe { *pointer })
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn own_error(
    authority: &MockAuthority,
    text: &str,
) -> Result<u8, Box<dyn StdError + Send + Sync>> {
    let number: u8 = text.parse()?;
    if number == 0 {
        Err("zero")?;
    }
    return Ok(number);
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn any_error<E: From<Error>>(authority: &MockAuthority) -> Result<u8, E> {
    Ok(1)
}

mod alias {
    pub type Result<T = ()> = std::result::Result<T, atlasent::Error>;
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn aliased(authority: &MockAuthority) -> alias::Result {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn not_send(authority: &MockAuthority, counter: &Cell<u8>) -> Result<(), Error> {
    counter.set(1);
    Ok(())
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn never_returns(authority: &MockAuthority) -> Result<(), Error> {
    panic!("ran");
}

#[protect(action = "deploy", agent = "bot", context = { depth }, authority = authority)]
fn recursive(authority: &MockAuthority, depth: u32) -> Result<u32, Error> {
    if depth == 0 {
        Ok(0)
    } else {
        Ok(1 + recursive(authority, depth - 1)?)
    }
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn callbacks<F>(
    authority: &MockAuthority,
    map: F,
    next: &mut dyn FnMut() -> u8,
    last: impl AsyncFnOnce(u8) -> u8,
) -> Result<Box<dyn Fn(&str) -> String>, Error>
where
    F: for<'x> Fn(&'x str) -> &'x str + 'static,
{
    let number = last(next()).await;
    Ok(Box::new(move |text| format!("{}{number}", map(text))))
}

#[protect(action = "deploy", agent = "bot", context = { names }, authority = authority)]
async fn spawned(
    authority: &Arc<dyn DynAuthority>,
    names: &[&str],
    separator: &str,
) -> Result<String, Error> {
    tokio::task::yield_now().await;
    Ok(names.join(separator))
}

/// Two permits for one body.
#[protect(action = "deploy", agent = "bot", authority = authority)]
#[protect(action = "announce", agent = "bot", authority = authority)]
async fn stacked(authority: &MockAuthority) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn inner_attributes(authority: &MockAuthority) -> Result<u8, Error> {
    #![allow(unused_variables)]
    let unused = 1;
    Ok(2)
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn functions_of_every_signature_are_protected() {
    let yes = &MockAuthority::new().allow("deploy");
    let no = &MockAuthority::new();

    assert_eq!(block_on(free(yes, "4f2a")).unwrap(), "4f2a by bot");
    assert_eq!(asked(yes)["context"]["commit"], "4f2a");
    assert!(refused(block_on(is_send(free(no, "4f2a")))));

    assert_eq!(sync(yes, "4f2a").unwrap(), "4f2a by bot");
    assert!(refused(sync(no, "4f2a")));

    assert_eq!(
        block_on(is_send(generic::<_, _, 7>(yes, 5, 0))).unwrap(),
        (5, 0)
    );
    assert_eq!(
        asked(yes)["context"],
        serde_json::json!({"value": 5, "count": 7})
    );

    let local = String::from("b");
    assert_eq!(block_on(is_send(borrowing(yes, "", &local))).unwrap(), "b");
    let mut list = vec![];
    *borrowing_mutably(yes, &mut list).unwrap() += 1;
    assert!(refused(borrowing_mutably(no, &mut list)));
    assert_eq!(list, [2]);

    let items = block_on(is_send(impl_trait(yes, [1, 2].into_iter(), "n"))).unwrap();
    assert!(items.eq(["n1", "n2"]));
    assert!(impl_trait_sync(yes, 2).unwrap().0.eq([0, 1]));

    let deploy = || Deploy {
        commit: "4f2a".into(),
        replicas: 3,
    };
    let all = block_on(is_send(patterns(
        yes,
        deploy(),
        ("bot", [1, 0, 0, 2]),
        &(4, 0),
        0,
    )));
    assert_eq!(all.unwrap(), ("4f2a".into(), 3, 7));
    assert_eq!(
        asked(yes)["context"],
        serde_json::json!({"commit": "4f2a", "replicas": 3, "first": 1})
    );
    assert!(refused(block_on(patterns(
        no,
        deploy(),
        ("bot", [0; 4]),
        &(0, 0),
        0
    ))));
    assert_eq!(patterns_sync(yes, (1, 2), 3).unwrap(), 6);

    assert_eq!(unsafe { unsafe_fn(yes, &8) }.unwrap(), 8);
    assert!(refused(unsafe { unsafe_fn(no, std::ptr::null()) }));

    assert_eq!(block_on(is_send(own_error(yes, "7"))).unwrap(), 7);
    assert_eq!(
        block_on(own_error(yes, "0")).unwrap_err().to_string(),
        "zero"
    );
    assert!(block_on(own_error(no, "7")).unwrap_err().is::<Error>());

    assert_eq!(block_on(any_error::<Box<dyn StdError>>(yes)).unwrap(), 1);

    let text = block_on(callbacks(yes, str::trim, &mut || 1, async |n| n + 1)).unwrap();
    assert_eq!(text(" a "), "a2");
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let shared: Arc<dyn DynAuthority> = Arc::new(MockAuthority::new().allow("deploy"));
    let task = async move { spawned(&shared, &["a", "b"], &String::from("+")).await };
    assert_eq!(
        runtime.block_on(runtime.spawn(task)).unwrap().unwrap(),
        "a+b"
    );
    assert_eq!(
        runtime
            .block_on(async { sync(yes, "inside a runtime") })
            .unwrap(),
        "inside a runtime by bot"
    );

    assert!(refused(block_on(stacked(yes))));
    block_on(stacked(
        &MockAuthority::new().allow("deploy").allow("announce"),
    ))
    .unwrap();

    block_on(aliased(yes)).unwrap();
    let counter = Cell::new(0);
    not_send(yes, &counter).unwrap();
    assert_eq!(counter.get(), 1);
    assert!(refused(block_on(never_returns(no))));
    assert_eq!(recursive(yes, 3).unwrap(), 3);
    assert_eq!(block_on(inner_attributes(yes)).unwrap(), 2);
}
