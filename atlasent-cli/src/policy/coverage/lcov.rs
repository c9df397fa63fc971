//! The report in the format of lcov (`man geninfo`), which editors and CI services show. Each
//! policy is a function, and each of its lines is a line of code.

use std::fmt::Write as _;

use super::{FileCoverage, Report};
use crate::output::escaped;

/// Returns the report, one record for each policy file.
pub(super) fn render(report: &Report<'_>) -> String {
    report.files.iter().map(record).collect()
}

fn record(file: &FileCoverage<'_>) -> String {
    let mut record = format!("TN:\nSF:{}\n", escaped(&file.path));
    for coverage in &file.policies {
        let (line, id) = (coverage.policy.first_line(), escaped(coverage.policy.id()));
        let _ = writeln!(record, "FN:{line},{id}\nFNDA:{},{id}", coverage.decided);
    }
    let hit = file.policies.iter().filter(|policy| policy.decided > 0);
    let _ = writeln!(record, "FNF:{}\nFNH:{}", file.policies.len(), hit.count());
    let (mut found, mut hit) = (0, 0);
    for (number, text) in (1..).zip(file.text.lines()) {
        let is_code = !text.trim().is_empty() && !text.trim_start().starts_with("//");
        if let Some(coverage) = file.policy_at(number).filter(|_| is_code) {
            found += 1;
            hit += usize::from(coverage.decided > 0);
            let _ = writeln!(record, "DA:{number},{}", coverage.decided);
        }
    }
    let _ = writeln!(record, "LF:{found}\nLH:{hit}\nend_of_record");
    record
}
