//! An authority whose store fails, hangs or panics once, at the call that a test plans.

use atlasent_authority::LocalAuthority;
use atlasent_tests::faulty::{FaultyStore, StoreFaults};

use crate::support::policies;

pub(crate) async fn faulty() -> (LocalAuthority<FaultyStore>, StoreFaults) {
    let faults = StoreFaults::default();
    let authority = LocalAuthority::builder(policies())
        .store(FaultyStore::new(faults.clone()))
        .build()
        .await;
    (authority.unwrap(), faults)
}
