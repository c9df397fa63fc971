//! What agents ask to do, as the policies know it.

use atlasent::Action;
use serde::Deserialize;

/// Reading a patient's record.
#[derive(Action, Clone, Debug, Deserialize, PartialEq, Eq)]
#[action("read_patient_record")]
pub struct ReadPatientRecord {
    /// Whose record it is.
    #[action(resource)]
    pub patient_id: String,
}

/// Adding a note to a patient's record.
#[derive(Action, Clone, Debug, Deserialize, PartialEq, Eq)]
#[action("modify_patient_record")]
pub struct ModifyPatientRecord {
    /// Whose record it is.
    #[action(resource)]
    pub patient_id: String,
    /// Why it is changed.
    pub change_reason: String,
    /// What is added. It is the permit's, and not for the authority: what a doctor notes has no place in its trail.
    #[action(skip)]
    pub note: String,
}
