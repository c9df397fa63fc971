//! Encryption of what approvers see, with a key of the operator.
//!
//! A store keeps the context of a held request for its approvers. With sealing keys, it keeps the
//! context encrypted (AES-256-GCM), so a copy of the store does not reveal it. The ciphertext is
//! bound to its decision and to the hash of the text: moved to another decision, or changed, it
//! does not open.

#[cfg(feature = "sealing")]
mod keys;

#[cfg(feature = "sealing")]
use std::sync::Arc;

use atlasent::Error;

use crate::ledger::approval::{ApprovalEntry, EscalationId, ShownText};

#[cfg(feature = "sealing")]
pub use self::keys::{InvalidSealingKeys, SealingKeys};

/// The sealing keys of an authority, if it has any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealing {
    #[cfg(feature = "sealing")]
    keys: Option<Arc<SealingKeys>>,
}

impl Sealing {
    #[cfg(feature = "sealing")]
    pub(crate) fn new(keys: SealingKeys) -> Self {
        Self {
            keys: Some(Arc::new(keys)),
        }
    }

    /// Returns what a store keeps of a text that the approvers of a decision see.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the system has no randomness.
    pub(crate) fn seal(
        &self,
        text: String,
        id: EscalationId,
        shown_hash: &str,
    ) -> Result<ShownText, Error> {
        #[cfg(feature = "sealing")]
        if let Some(keys) = &self.keys {
            let sealed = keys.seal(&text, &bound_to(id, shown_hash))?;
            return Ok(ShownText::Sealed(sealed));
        }
        let _ = (id, shown_hash);
        Ok(ShownText::Readable(text))
    }

    /// Returns a decision with the text that its approvers see. A text that does not open stays
    /// sealed.
    pub(crate) fn opened(&self, mut row: ApprovalEntry) -> ApprovalEntry {
        if let Some(text) = self.open(&row) {
            row.shown = ShownText::Readable(text);
        }
        row
    }

    /// Returns whether the authority can show a decision to its approvers.
    pub(crate) fn can_show(&self, row: &ApprovalEntry) -> bool {
        row.shown.as_str().is_some() || self.open(row).is_some()
    }

    /// Opens the sealed text of a decision.
    #[cfg(feature = "sealing")]
    fn open(&self, row: &ApprovalEntry) -> Option<String> {
        let ShownText::Sealed(sealed) = &row.shown else {
            return None;
        };
        let keys = self.keys.as_ref()?;
        keys.open(sealed, &bound_to(row.id, &row.shown_hash))
    }

    #[cfg(not(feature = "sealing"))]
    fn open(&self, _: &ApprovalEntry) -> Option<String> {
        None
    }
}

/// Returns what a sealed text is bound to.
#[cfg(feature = "sealing")]
fn bound_to(id: EscalationId, shown_hash: &str) -> String {
    format!("{id}\n{shown_hash}")
}
