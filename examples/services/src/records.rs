//! The records of the patients. Every way in takes a permit, so none can be forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use atlasent::permit::PermitRecord;
use atlasent::{Action, Permit};
use serde::Serialize;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::{ModifyPatientRecord, ReadPatientRecord};

/// One patient's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Whose it is.
    pub patient_id: String,
    /// What was noted, in its order.
    pub notes: Vec<String>,
}

/// The records of all patients, in memory.
///
/// The methods take no patient: whose record is read or changed stands in the permit, and was decided on.
#[derive(Debug)]
pub struct Records {
    patients: BTreeMap<String, watch::Sender<Record>>,
    accesses: Mutex<Vec<PermitRecord>>,
}

impl Records {
    /// Three patients, of whom `patient-1` is a protected person.
    #[must_use]
    pub fn sample() -> Self {
        let patients = [
            ("patient-1", "seen for a check-up"),
            ("patient-7", "penicillin allergy"),
            ("patient-8", "fracture of the left wrist"),
        ];
        Self {
            patients: patients.map(admit).into(),
            accesses: Mutex::default(),
        }
    }

    /// The record as it is. None if there is no such patient.
    #[must_use]
    pub fn read(&self, permit: Permit<ReadPatientRecord>) -> Option<Record> {
        self.note_access(&permit);
        let record = self.patients.get(&permit.patient_id)?;
        Some(record.borrow().clone())
    }

    /// The record as it is, and again whenever it has changed. Whoever is slow misses what was in between. None if there is
    /// no such patient.
    #[must_use]
    pub fn watch(&self, permit: Permit<ReadPatientRecord>) -> Option<WatchStream<Record>> {
        self.note_access(&permit);
        let record = self.patients.get(&permit.patient_id)?;
        Some(WatchStream::new(record.subscribe()))
    }

    /// Adds the permit's note, and gives what became of the record. None if there is no such patient.
    #[must_use]
    pub fn modify(&self, permit: Permit<ModifyPatientRecord>) -> Option<Record> {
        self.note_access(&permit);
        let change = permit.into_action();
        let record = self.patients.get(&change.patient_id)?;
        record.send_modify(|record| record.notes.push(change.note));
        Some(record.borrow().clone())
    }

    /// Every access so far, in its order, by what its permit left behind.
    #[must_use]
    pub fn accesses(&self) -> Vec<PermitRecord> {
        self.lock().clone()
    }

    fn note_access<A: Action>(&self, permit: &Permit<A>) {
        self.lock().push(permit.record());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PermitRecord>> {
        // A list of what happened is as good as it was before somebody panicked.
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn admit((id, note): (&str, &str)) -> (String, watch::Sender<Record>) {
    let record = Record {
        patient_id: id.to_owned(),
        notes: vec![note.to_owned()],
    };
    (id.to_owned(), watch::Sender::new(record))
}
