//! The permit's parameter: named, mutable, ignored, marked, renamed, generic or not there at all.
#![deny(warnings)]

mod support;

use atlasent::permit::PermitRecord;
use atlasent::testing::MockAuthority;
use atlasent::{Action, AnyAction, Error, Guarded, Permit, protect};
use futures_executor::block_on;
use support::refused;

#[derive(Action)]
#[action("drop_table")]
struct DropTable {
    table: String,
}

type Pass<A = AnyAction> = Permit<A>;

struct Database;

impl Database {
    fn drop_table(&self, table: &str) -> String {
        format!("dropped {table}")
    }
}

#[protect(action = DropTable { table }, agent = "bot", authority = authority)]
async fn guarded(
    authority: &MockAuthority,
    database: &Guarded<Database, DropTable>,
    table: String,
    permit: Permit<DropTable>,
) -> Result<String, Error> {
    database.with(permit, |database| {
        database.drop_table(&database.permit().table)
    })
}

#[protect(action = "drop_table", agent = "bot", authority = authority)]
async fn mutable(
    authority: &MockAuthority,
    mut permit: Permit,
    more: u8,
) -> Result<(Permit, u8), Error> {
    permit = std::convert::identity(permit);
    Ok((permit, more))
}

#[protect(action = "drop_table", agent = "bot", authority = authority)]
async fn ignored(_: Permit, authority: &MockAuthority) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "drop_table", agent = "bot", authority = authority)]
async fn marked(authority: &MockAuthority, #[permit] pass: Pass) -> Result<PermitRecord, Error> {
    Ok(pass.record())
}

#[protect(action = DropTable { table }, agent = "bot", authority = authority)]
fn marked_and_mutable(
    authority: &MockAuthority,
    table: String,
    #[permit] mut pass: Pass<DropTable>,
) -> Result<String, Error> {
    pass = std::convert::identity(pass);
    Ok(pass.into_action().table)
}

#[protect(action = "drop_table", agent = "bot", authority = authority)]
async fn absent(authority: &MockAuthority) -> Result<(), Error> {
    Ok(())
}

#[protect(action = action, agent = "bot", authority = authority)]
async fn of_any_type<A: Action>(
    authority: &MockAuthority,
    action: A,
    permit: atlasent::Permit<A>,
) -> Result<A, Error> {
    Ok(permit.into_action())
}

/// Another function's permit by reference is an argument like any other.
#[protect(action = "drop_table", agent = other.agent(), authority = authority)]
async fn by_reference(
    authority: &MockAuthority,
    other: &Permit,
    permit: Permit,
) -> Result<bool, Error> {
    Ok(other.id() != permit.id())
}

mod parking {
    pub struct Permit {
        pub spot: u32,
    }
}

/// A permit of another kind stays what it is: an argument.
#[protect(action = "park", agent = "bot", context = { spot: parked.spot }, authority = authority)]
async fn skipped(
    authority: &MockAuthority,
    #[permit(skip)] parked: parking::Permit,
) -> Result<u32, Error> {
    Ok(parked.spot)
}

#[protect(action = "park", agent = "bot", authority = authority)]
fn skipped_beside_one(
    authority: &MockAuthority,
    #[permit(skip)] parked: parking::Permit,
    permit: Permit,
) -> Result<String, Error> {
    Ok(format!("{} on {}", permit.agent(), parked.spot))
}

#[protect(action = "park", agent = "bot", authority = authority)]
async fn marked_beside_one(
    authority: &MockAuthority,
    parked: Option<&parking::Permit>,
    #[permit] permit: Permit,
) -> Result<bool, Error> {
    Ok(parked.is_some() && !permit.id().is_empty())
}

/// A trait declares its methods without the permit.
trait Park {
    async fn park(&self, spot: u32) -> Result<u32, Error>;
}

impl Park for MockAuthority {
    #[protect(action = "park", agent = "bot", context = { spot }, authority = self)]
    async fn park(&self, spot: u32, permit: Permit) -> Result<u32, Error> {
        assert_eq!(permit.action().name(), "park");
        Ok(spot)
    }
}

#[test]
fn the_permit_parameter_has_any_form() {
    let yes = &MockAuthority::new().allow("drop_table").allow("park");
    let no = &MockAuthority::new();
    let database = &Guarded::granted_by(yes, Database).unwrap();

    assert_eq!(
        block_on(guarded(yes, database, "old".into())).unwrap(),
        "dropped old"
    );
    assert!(refused(block_on(guarded(no, database, "old".into()))));
    let (permit, more) = block_on(mutable(yes, 7)).unwrap();
    assert_eq!((permit.agent().as_str(), more), ("bot", 7));
    block_on(ignored(yes)).unwrap();
    assert_eq!(block_on(marked(yes)).unwrap().action, "drop_table");
    assert_eq!(marked_and_mutable(yes, "old".into()).unwrap(), "old");
    assert!(refused(marked_and_mutable(no, "old".into())));
    block_on(absent(yes)).unwrap();
    assert!(refused(block_on(absent(no))));
    assert_eq!(
        block_on(of_any_type(yes, DropTable { table: "t".into() }))
            .unwrap()
            .table,
        "t"
    );
    assert!(block_on(by_reference(yes, &permit)).unwrap());

    let spot = |spot| parking::Permit { spot };
    assert_eq!(block_on(skipped(yes, spot(7))).unwrap(), 7);
    assert!(refused(block_on(skipped(no, spot(7)))));
    assert_eq!(skipped_beside_one(yes, spot(7)).unwrap(), "bot on 7");
    assert!(refused(skipped_beside_one(no, spot(7))));
    assert!(block_on(marked_beside_one(yes, Some(&spot(7)))).unwrap());
    assert!(refused(block_on(marked_beside_one(no, None))));
    assert_eq!(block_on(yes.park(7)).unwrap(), 7);
    assert!(refused(block_on(no.park(7))));
}
