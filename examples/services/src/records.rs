//! The records of the patients. Every method that reads or changes one takes a permit.

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
    /// The patient whose record it is.
    pub patient_id: String,
    /// The notes, oldest first.
    pub notes: Vec<String>,
}

/// The records of all patients, in memory.
///
/// The methods take the patient from the permit, so that it is the patient that was decided on.
#[derive(Debug)]
pub struct Records {
    patients: BTreeMap<String, watch::Sender<Record>>,
    accesses: Mutex<Vec<PermitRecord>>,
}

impl Records {
    /// Returns the records of three patients, of whom `patient-1` is a protected person.
    #[must_use]
    pub fn sample() -> Self {
        let patients = [
            ("patient-1", "seen for a check-up"),
            ("patient-7", "penicillin allergy"),
            ("patient-8", "fracture of the left wrist"),
        ];
        Self {
            patients: patients.map(patient_record).into(),
            accesses: Mutex::default(),
        }
    }

    /// Returns the record, or `None` for an unknown patient.
    #[must_use]
    pub fn read(&self, permit: Permit<ReadPatientRecord>) -> Option<Record> {
        let record = self.patients.get(&self.patient(permit))?;
        Some(record.borrow().clone())
    }

    /// Streams the record now and after each change, or returns `None` for an unknown patient. A
    /// slow reader skips intermediate states.
    #[must_use]
    pub fn watch(&self, permit: Permit<ReadPatientRecord>) -> Option<WatchStream<Record>> {
        let record = self.patients.get(&self.patient(permit))?;
        Some(WatchStream::new(record.subscribe()))
    }

    /// Adds the permit's note and returns the changed record, or `None` for an unknown patient.
    #[must_use]
    pub fn modify(&self, permit: Permit<ModifyPatientRecord>) -> Option<Record> {
        self.note_access(&permit);
        let change = permit.into_action();
        let record = self.patients.get(&change.patient_id)?;
        record.send_modify(|record| record.notes.push(change.note));
        Some(record.borrow().clone())
    }

    /// Returns the records of the permits of all accesses, oldest first.
    #[must_use]
    pub fn accesses(&self) -> Vec<PermitRecord> {
        self.lock().clone()
    }

    /// Uses up the permit to read a record, and returns the patient's id.
    fn patient(&self, permit: Permit<ReadPatientRecord>) -> String {
        self.note_access(&permit);
        permit.into_action().patient_id
    }

    fn note_access<A: Action>(&self, permit: &Permit<A>) {
        self.lock().push(permit.record());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PermitRecord>> {
        // The list is complete up to a panic of another thread.
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn patient_record((id, note): (&str, &str)) -> (String, watch::Sender<Record>) {
    let record = Record {
        patient_id: id.to_owned(),
        notes: vec![note.to_owned()],
    };
    (id.to_owned(), watch::Sender::new(record))
}
