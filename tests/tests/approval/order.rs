//! The first check that fails, in the contract's order, names the reason.

use crate::case::{Case, faults};
use crate::quorum_case::{QuorumCase, quorum_faults};

#[test]
fn an_approval_without_a_fault_verifies() {
    assert_eq!(Case::new().verdict(), Ok(()));
    assert_eq!(QuorumCase::new().verdict(), Ok(()));
}

#[test]
fn each_fault_has_its_reason() {
    for fault in faults() {
        let mut case = Case::new();
        (fault.1)(&mut case);
        assert_eq!(case.verdict(), Err(fault.0));
    }
    for (reason, change) in quorum_faults() {
        let mut case = QuorumCase::new();
        change(&mut case);
        assert_eq!(case.verdict(), Err(reason));
    }
}

#[test]
fn of_two_faults_the_earlier_in_the_contracts_order_is_the_reason() {
    let faults = faults();
    for (index, earlier) in faults.iter().enumerate() {
        for later in &faults[index + 1..] {
            for order in [[earlier, later], [later, earlier]] {
                let mut case = Case::new();
                for fault in order {
                    (fault.1)(&mut case);
                }
                assert_eq!(case.verdict(), Err(earlier.0.clone()), "and {:?}", later.0);
            }
        }
    }
}

#[test]
fn of_two_faults_of_a_quorum_the_earlier_in_the_contracts_order_is_the_reason() {
    let faults = quorum_faults();
    for (index, (reason, earlier)) in faults.iter().enumerate() {
        for (later_reason, later) in &faults[index + 1..] {
            let mut case = QuorumCase::new();
            later(&mut case);
            earlier(&mut case);
            assert_eq!(case.verdict(), Err(reason.clone()), "and {later_reason:?}");
        }
    }
}

#[test]
fn with_all_faults_the_reasons_come_one_by_one_in_the_contracts_order() {
    let faults = faults();
    for (index, first) in faults.iter().enumerate() {
        let mut case = Case::new();
        for fault in &faults[index..] {
            (fault.1)(&mut case);
        }
        assert_eq!(case.verdict(), Err(first.0.clone()));
    }
}
