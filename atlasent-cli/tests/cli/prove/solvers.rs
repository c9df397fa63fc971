//! Solvers that are absent, end, hang or answer something else: none of it is a proof.

use std::path::Path;
use std::time::{Duration, Instant};

use super::support::{BOUNDS, Set, findings, json};

/// Proves bounds that hold with a solver that is this script.
fn undecided_by(script: &str, words: &str) {
    let set = Set::first();
    // Written as in the policies, it would be proved without the solver.
    let bounds = &BOUNDS.replace("context.replicas <= 50", "context.replicas < 51");
    let solver = set.program("solver", script);
    let more = ["--json", "--timeout", "1s"];
    let report = json(set.prove(bounds, &solver, &more), 2);
    assert_eq!(report["proved"], false, "{script}: {report}");
    let undecided = findings(&report, "undecided");
    let claims: Vec<_> = undecided.iter().map(|finding| &finding["claim"]).collect();
    assert_eq!(claims, ["allows_no_more"; 2], "{script}: {report}");
    for finding in undecided {
        let reason = finding["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{script}: {reason}");
    }
    // The same, as text.
    let ended = set.prove(bounds, &solver, &["--timeout", "1s"]).run();
    assert_eq!((ended.code, ended.stderr.as_str()), (2, ""));
    assert!(!ended.stdout.contains("proved: "), "{}", ended.stdout);
    let line = "undecided: `deploy.production`: DIR allows nothing that BOUNDS denies: ";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
}

/// Reads up to each question, and answers it with this line.
fn answers(line: &str) -> String {
    format!(
        "#!/bin/sh\nwhile read -r command; do\n\
         case $command in '(check-sat)') echo '{line}';; esac\ndone\n"
    )
}

#[test]
fn a_solver_that_ends_proves_nothing() {
    undecided_by("#!/bin/sh\nexit 0\n", "");
    undecided_by("#!/bin/sh\nexit 3\n", "");
    undecided_by("#!/bin/sh\nread -r command\nkill -9 $$\n", "");
}

#[test]
fn a_solver_that_answers_unknown_proves_nothing() {
    undecided_by(&answers("unknown"), "the solver answered `unknown`");
}

#[test]
fn a_solver_that_reports_an_error_proves_nothing() {
    undecided_by(
        &answers("(error \"out of memory\")"),
        "the solver failed: out of memory",
    );
}

#[test]
fn a_solver_that_answers_something_else_proves_nothing() {
    undecided_by(&answers("UNSAT"), "neither `sat` nor `unsat`: `UNSAT`");
    undecided_by(&answers("unsat unsat"), "neither `sat` nor `unsat`");
    undecided_by(
        "#!/bin/sh\nexec cat\n",
        "neither `sat` nor `unsat`: `(reset)`",
    );
    // A counterexample without a model, or with one that says nothing.
    undecided_by(&answers("sat"), "");
    undecided_by(
        "#!/bin/sh\nwhile read -r command; do\n\
         case $command in '(check-sat)') echo sat;; '(get-model)') echo '(';\n\
         echo 'define-nothing'; echo ')';; esac\ndone\n",
        "",
    );
}

#[test]
fn a_solver_that_does_not_answer_is_ended_in_time() {
    let started = Instant::now();
    undecided_by("#!/bin/sh\nexec sleep 600\n", "did not answer within 1 s");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_answer_that_is_late_is_not_that_to_the_next_question() {
    // Answers with the last word of the error before it, if the process lived on.
    let script = "#!/bin/sh\nwhile read -r command; do\n\
        case $command in '(check-sat)') echo nonsense; echo unsat;; esac\ndone\n";
    undecided_by(script, "neither `sat` nor `unsat`: `nonsense`");
}

#[test]
fn a_solver_that_is_absent_is_misuse() {
    let set = Set::first();
    let line = set.prove(BOUNDS, Path::new("/missing/cvc5"), &[]).misuse();
    assert_eq!(
        line,
        "cannot start the solver `/missing/cvc5`: there is no such program: install cvc5, or name its program with `--solver <PATH>`"
    );
    let line = set.prove(BOUNDS, &set.path(), &[]).misuse();
    assert!(line.contains("Permission denied"), "{line}");
}
