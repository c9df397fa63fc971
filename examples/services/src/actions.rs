//! The actions of agents.

use atlasent::Action;
use serde::Deserialize;

/// Reading a patient's record.
#[derive(Action, Clone, Debug, Deserialize, PartialEq, Eq)]
#[action("read_patient_record")]
pub struct ReadPatientRecord {
    /// The patient whose record it is.
    #[action(resource)]
    pub patient_id: String,
}

/// Adding a note to a patient's record.
#[derive(Action, Clone, Debug, Deserialize, PartialEq, Eq)]
#[action("modify_patient_record")]
pub struct ModifyPatientRecord {
    /// The patient whose record it is.
    #[action(resource)]
    pub patient_id: String,
    /// The reason for the change.
    pub change_reason: String,
    /// The note to add. The permit carries it, but the context does not, so that the audit trail
    /// holds no medical notes.
    #[action(skip)]
    pub note: String,
}
