//! The solver: an SMT solver in a process of its own, and what its answers mean.
//!
//! Only the answer `unsat` is a proof. Everything else that a solver does (`unknown`, an error, any
//! other text, its end, silence) leaves the question undecided, and ends the process, so that no
//! late answer is taken for that to the next question.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cedar_policy_symcc::err::{Error, SolverError};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{
    Asserts, CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env, SymEnv,
};
use tokio::process::Command;

use crate::exit::Failure;

/// The longest text of a solver that a reason repeats, in characters.
const MAX_SHOWN: usize = 200;

type Compiler = CedarSymCompiler<LocalSolver>;

/// What a solver found out about a question.
pub(super) enum Outcome {
    /// No request contradicts the claim.
    Proved,
    /// A request and entities that contradict the claim under Cedar's semantics.
    Refuted(Box<Env>),
    /// The reason why there is no result.
    Undecided(String),
}

impl From<Option<Env>> for Outcome {
    fn from(counterexample: Option<Env>) -> Self {
        counterexample.map_or(Self::Proved, |env| Self::Refuted(Box::new(env)))
    }
}

/// Asks questions, each within a time limit.
pub(super) struct Solver {
    program: PathBuf,
    timeout: Duration,
    /// The process that answered the last question.
    idle: Option<Compiler>,
}

impl Solver {
    /// Starts the solver.
    pub(super) fn start(program: PathBuf, timeout: Duration) -> Result<Self, Failure> {
        let mut solver = Self {
            program,
            timeout,
            idle: None,
        };
        solver.idle = Some(solver.spawn()?);
        Ok(solver)
    }

    /// Asks whether a policy fails to evaluate on any request.
    pub(super) async fn never_errs(&mut self, policy: &CompiledPolicy) -> Result<Outcome, Failure> {
        self.ask(async |compiler: &mut Compiler| {
            let question = compiler.check_never_errors_with_counterexample_opt(policy);
            question.await.map(Outcome::from)
        })
        .await
    }

    /// Asks whether each request that `inner` allows is allowed by `outer`.
    pub(super) async fn implies(
        &mut self,
        inner: &CompiledPolicySet,
        outer: &CompiledPolicySet,
    ) -> Result<Outcome, Failure> {
        self.ask(async |compiler: &mut Compiler| {
            let question = compiler.check_implies_with_counterexample_opt(inner, outer);
            question.await.map(Outcome::from)
        })
        .await
    }

    /// Asks whether no request satisfies these terms. A refutation is reported without a request.
    pub(super) async fn unsatisfiable(
        &mut self,
        asserts: Asserts,
        symbols: &SymEnv,
    ) -> Result<Outcome, Failure> {
        self.ask(async |compiler: &mut Compiler| {
            match compiler.check_unsat_raw(asserts, symbols).await? {
                true => Ok(Outcome::Proved),
                false => Ok(Outcome::Undecided("there is a counterexample".to_owned())),
            }
        })
        .await
    }

    async fn ask(
        &mut self,
        question: impl AsyncFnOnce(&mut Compiler) -> Result<Outcome, Error>,
    ) -> Result<Outcome, Failure> {
        let mut compiler = match self.idle.take() {
            Some(compiler) => compiler,
            None => self.spawn()?,
        };
        // Dropping a compiler kills its process.
        match tokio::time::timeout(self.timeout, question(&mut compiler)).await {
            Err(_) => {
                let seconds = self.timeout.as_secs_f64();
                let reason = format!("the solver did not answer within {seconds} s");
                Ok(Outcome::Undecided(reason))
            }
            Ok(Ok(outcome)) => {
                self.idle = Some(compiler);
                Ok(outcome)
            }
            Ok(Err(error)) => Ok(Outcome::Undecided(reason(&error))),
        }
    }

    fn spawn(&self) -> Result<Compiler, Failure> {
        let mut command = Command::new(&self.program);
        command.args(["--lang", "smt"]).kill_on_drop(true);
        let solver = LocalSolver::from_command(&mut command);
        let compiler = solver.map_err(Error::from).and_then(CedarSymCompiler::new);
        compiler.map_err(|error| {
            let why = match &error {
                Error::SolverError(SolverError::Io(error))
                    if error.kind() == io::ErrorKind::NotFound =>
                {
                    "there is no such program".to_owned()
                }
                error => reason(error),
            };
            let shown = self.program.display();
            Failure::misuse(format!(
                "cannot start the solver `{shown}`: {why}: install cvc5, or name its program with `--solver <PATH>`"
            ))
        })
    }
}

/// Returns why a question has no answer, on one line.
pub(super) fn reason(error: &Error) -> String {
    let text = match error {
        Error::SolverUnknown => "the solver answered `unknown`".to_owned(),
        Error::SolverError(SolverError::Solver(error)) => format!("the solver failed: {error}"),
        Error::SolverError(SolverError::UnrecognizedSolverOutput(output)) if output.is_empty() => {
            "the solver ended without an answer".to_owned()
        }
        Error::SolverError(SolverError::UnrecognizedSolverOutput(output)) => {
            format!("the solver answered neither `sat` nor `unsat`: `{output}`")
        }
        Error::PolicyNotWellTyped { errs } => {
            let first = errs.first().map(ToString::to_string).unwrap_or_default();
            format!("the policies do not fit the schema: {first}")
        }
        error => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text.push_str(&format!(": {error}"));
                source = error.source();
            }
            text
        }
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
