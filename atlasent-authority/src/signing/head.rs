//! Signed heads of a store's chain.

use atlasent::audit::SignedHead;
use base64ct::{Base64UrlUnpadded, Encoding};

use super::KeyRing;
use crate::clock::Clock;
use crate::store::{Store, StoreError};
use crate::trail::chain::format_time;
use crate::trail::complete::Completeness;

/// Signs the head of a store's chain, after checking that the store has the first and the last
/// event of the chain. `clock` gives the time of the signature.
///
/// ```
/// use atlasent::audit::TrustedKeys;
/// use atlasent_authority::signing::{KeyRing, signed_head};
/// use atlasent_authority::{LocalAuthority, Policies, SystemClock};
///
/// # futures_executor::block_on(async {
/// let policies = Policies::parse("permit (principal, action, resource);")?;
/// let authority = LocalAuthority::in_memory(policies)?;
/// let keys = KeyRing::in_memory()?;
///
/// let head = signed_head(authority.store(), &keys, &SystemClock).await?;
/// assert_eq!(head.sequence, 1);
/// let key = keys.active();
/// let trusted = TrustedKeys::new().pem(key.key_id(), key.public_key_pem())?;
/// assert_eq!(head.verify(&trusted)?, key.key_id());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read; [`StoreError::Incomplete`] when the first or the
/// last event of the chain is missing.
pub async fn signed_head<S: Store>(
    store: &S,
    keys: &KeyRing,
    clock: &dyn Clock,
) -> Result<SignedHead, StoreError> {
    let status = store.status().await?;
    // Only the ends: an export reads the whole chain.
    Completeness::for_ends(status.clone()).finish(store).await?;
    let (head, key) = (status.head, keys.active());
    let signed_at = format_time(clock.now());
    let mut head = SignedHead::unsigned(
        &*head.org_id,
        head.sequence,
        &*head.hash,
        signed_at,
        key.key_id(),
    );
    let signature = key.sign(&head.signed_bytes());
    head.signature = Base64UrlUnpadded::encode_string(&signature.to_bytes());
    Ok(head)
}
