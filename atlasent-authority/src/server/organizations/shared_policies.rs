//! Keeps one copy in memory of a set of policies that several organizations have.
//!
//! Customers of a platform often start from one set. Two organizations share a set only if all
//! names and texts of its files are the same. Then every decision, digest, reason and location in
//! an error is the same too. A loaded set never changes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};

use crate::policy::{Policies, PoliciesBuilder, PolicyError};

/// The sets that are in use, by the digests of their texts.
#[derive(Debug, Default)]
pub(in crate::server) struct SharedPolicies(Mutex<HashMap<[u8; 32], Weak<Policies>>>);

impl SharedPolicies {
    /// Reads the policies of a folder. Parses them only if no set in use has the same texts.
    ///
    /// # Errors
    ///
    /// The errors of [`Policies::from_dir`].
    pub(in crate::server) fn read(&self, path: &Path) -> Result<Arc<Policies>, PolicyError> {
        self.build(PoliciesBuilder::from_dir(path)?)
    }

    /// Returns the set of these texts that is in use, or else builds it.
    ///
    /// # Errors
    ///
    /// The errors of [`PoliciesBuilder::build`].
    pub(in crate::server) fn build(
        &self,
        builder: PoliciesBuilder,
    ) -> Result<Arc<Policies>, PolicyError> {
        let digest = digest(&builder);
        if let Some(policies) = self.in_use(&digest) {
            return Ok(policies);
        }
        let policies = Arc::new(builder.build()?);
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|_, policies| policies.strong_count() > 0);
        // Another organization may have built the same set meanwhile.
        match sets.get(&digest).and_then(Weak::upgrade) {
            Some(earlier) => Ok(earlier),
            None => {
                sets.insert(digest, Arc::downgrade(&policies));
                Ok(policies)
            }
        }
    }

    fn in_use(&self, digest: &[u8; 32]) -> Option<Arc<Policies>> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.get(digest)?.upgrade()
    }
}

/// Returns the digest of the names and texts. It includes the length of each, so that two lists
/// with the same joined text have different digests.
fn digest(builder: &PoliciesBuilder) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (name, text) in builder.texts() {
        for part in [name, text] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "permit (principal, action, resource);";

    fn source(name: &str, text: &str) -> PoliciesBuilder {
        Policies::builder().source(name, text)
    }

    #[test]
    fn only_the_same_names_and_texts_share_a_set() {
        let shared = SharedPolicies::default();
        let build = |builder| shared.build(builder).unwrap();
        let first = build(source("a.cedar", OPEN));
        assert!(Arc::ptr_eq(&first, &build(source("a.cedar", OPEN))));
        let others = [
            source("b.cedar", OPEN),
            source("a.cedar", &format!("{OPEN} // of another organization")),
            source("a.cedar", OPEN).source("b.cedar", OPEN),
            source("a.cedar", OPEN).entities("entities.json", "[]"),
        ];
        for other in others {
            assert!(!Arc::ptr_eq(&first, &build(other)));
        }
    }

    #[test]
    fn an_unused_set_is_freed() {
        let shared = SharedPolicies::default();
        let first = shared.build(source("a.cedar", OPEN)).unwrap();
        let freed = Arc::downgrade(&first);
        drop(first);
        assert!(freed.upgrade().is_none());
        shared.build(source("b.cedar", OPEN)).unwrap();
        assert_eq!(shared.0.lock().unwrap().len(), 1);
        shared.build(source("a.cedar", OPEN)).unwrap();
    }

    #[test]
    fn refused_policies_are_not_kept() {
        let shared = SharedPolicies::default();
        assert!(shared.build(source("a.cedar", "permit (")).is_err());
        assert!(shared.0.lock().unwrap().is_empty());
    }
}
