//! `atlasent policy prove` and `atlasent policy compare`: proofs about all requests, by an SMT
//! solver.

mod compare;
mod counterexample;
mod difference;
mod facts;
mod proof;
mod report;
mod side;
mod solver;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent_authority::Policies;
use atlasent_authority::duration::parse_positive_duration;
use cedar_policy::Policy;
use cedar_policy_symcc::CompiledSchema;
use clap::Args;

pub(super) use compare::{Compare, run as compare};
use difference::Outer;
use proof::{Answer, Scene};
use report::{Claim, Report};
use side::{Loaded, SCHEMA_FILE, Side};
use solver::Solver;

use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;

/// The name of the entities' file in a directory of policies.
const ENTITIES_FILE: &str = "entities.json";

/// Prove that no policy fails to evaluate, and that nothing is allowed beyond bounds
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy prove policies
  atlasent policy prove policies --bounds bounds.cedar
  atlasent policy prove policies --bounds bounds.cedar --write-cases found.json --json

Bounds are policies that state the most that may ever be allowed. They use the schema and the entities of DIR.
A proof covers all requests that conform to the schema, with the entities in `entities.json`. A counterexample is a request
that the policies decide as reported. It needs the solver cvc5 and a `schema.cedarschema`.

Exit codes:
  0  everything is proved
  1  there is a counterexample
  2  there is no counterexample, and something is undecided; or the policies, the bounds or the solver cannot be used")]
pub(crate) struct Prove {
    /// The directory that holds the `*.cedar` files
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// A file with policies that state the most that may be allowed
    #[arg(long, value_name = "FILE")]
    bounds: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

/// The options that both commands have.
#[derive(Args)]
struct Options {
    /// The program of the solver
    #[arg(long, value_name = "PATH", default_value = "cvc5")]
    solver: PathBuf,

    /// How long the solver may take for one question, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_positive_duration)]
    timeout: Duration,

    /// Write the counterexamples to a new file, as cases for `atlasent policy test`
    #[arg(long, value_name = "FILE")]
    write_cases: Option<PathBuf>,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// Proves the claims about one policy set.
pub(crate) fn prove(arguments: &Prove) -> Result<Output, Failure> {
    let policies = Loaded::from_dir(&arguments.directory)?;
    let bounds = match &arguments.bounds {
        Some(file) => Some(load_bounds(&arguments.directory, &policies, file)?),
        None => None,
    };
    let bounds = bounds.as_ref().map(|bounds| ("BOUNDS", bounds));
    let sides: Vec<_> = [("DIR", &policies)].into_iter().chain(bounds).collect();
    let pairs: &[_] = if bounds.is_some() { &[(0, 1)] } else { &[] };
    conclude(&sides, pairs, &arguments.options)
}

/// Loads bounds with the schema and the entities of the policies.
fn load_bounds(directory: &Path, policies: &Loaded, file: &Path) -> Result<Loaded, Failure> {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .map_err(|error| Failure::misuse(format!("cannot read `{}`: {error}", path.display())))
    };
    let mut builder = Policies::builder().source(&file.display().to_string(), read(file)?);
    builder = builder.schema(SCHEMA_FILE, &policies.schema);
    let entities = directory.join(ENTITIES_FILE);
    if entities.exists() {
        builder = builder.entities(ENTITIES_FILE, read(&entities)?);
    }
    let bounds = builder.build().map_err(|error| {
        let problems = error.problems();
        let first = problems
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let more = match problems.len() {
            0 | 1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        Failure::misuse(format!("cannot load the bounds: {first}{more}"))
    })?;
    Ok(Loaded {
        policies: bounds,
        schema: policies.schema.clone(),
    })
}

/// Asks all questions: that no policy of the sets fails, and for each pair of sets, that the first
/// allows nothing that the second denies. Cases for `policy test` are those of the first set.
fn conclude(
    sets: &[(&'static str, &Loaded)],
    pairs: &[(usize, usize)],
    options: &Options,
) -> Result<Output, Failure> {
    if let Some(file) = options.write_cases.as_deref().filter(|file| file.exists()) {
        return Err(Failure::misuse(format!(
            "`{}` exists: name a new file for the cases",
            file.display()
        )));
    }
    let sides: Vec<Side<'_>> = (sets.iter())
        .filter_map(|(name, loaded)| loaded.side(name))
        .collect();
    let mut actions = sides.iter().flat_map(|side| side.environments());
    if actions.next().is_none() {
        return Err(Failure::misuse(
            "there is nothing to prove: the schema declares no action of an `Agent` on a `Resource`, so every request is denied",
        ));
    }
    let report = on_large_stack(|| async {
        let solver = Solver::start(options.solver.clone(), options.timeout)?;
        let mut questions = Questions {
            solver,
            sides: &sides,
            report: Report::default(),
        };
        for side in &sides {
            questions.never_errs(side).await?;
        }
        for (inner, outer) in pairs {
            if let (Some(inner), Some(outer)) = (sides.get(*inner), sides.get(*outer)) {
                questions.allows_no_more(inner, outer).await?;
            }
        }
        Ok(questions.report)
    })?;
    report.finish(&sides, options.json, options.write_cases.as_deref())
}

/// Runs questions on a thread with a large stack: terms of many policies are deep, and are read and
/// dropped recursively.
fn on_large_stack<F>(questions: impl FnOnce() -> F + Send) -> Result<Report, Failure>
where
    F: Future<Output = Result<Report, Failure>>,
{
    const STACK: usize = 256 << 20;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, || runtime::run(questions()));
        let thread =
            thread.map_err(|error| Failure::misuse(format!("cannot start a thread: {error}")))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Failure::misuse("the proof ended early")))
    })
}

/// Asks the questions about each action, and collects the answers.
struct Questions<'q> {
    solver: Solver,
    /// All sets, which decide each counterexample.
    sides: &'q [Side<'q>],
    report: Report,
}

impl Questions<'_> {
    async fn never_errs(&mut self, side: &Side<'_>) -> Result<(), Failure> {
        let schema = compiled(side)?;
        for (action, environment) in side.environments() {
            let policies = side.relevant(environment.action());
            let scene = Scene::new(*side, &schema, environment, &policies, None)?;
            for policy in &policies {
                let answer = scene
                    .never_errs(&mut self.solver, policy, self.sides)
                    .await?;
                let claim = Claim::NeverErrs {
                    set: side.name,
                    policy: policy.id().to_string(),
                };
                self.report.add(claim, action, answer);
            }
            self.report.assume(scene.required());
        }
        Ok(())
    }

    async fn allows_no_more(&mut self, inner: &Side<'_>, outer: &Side<'_>) -> Result<(), Failure> {
        self.report.set_budgets_aside(inner, outer);
        let schema = compiled(inner)?;
        for (action, environment) in inner.environments() {
            let policies = inner.relevant(environment.action());
            let answer = match Outer::new(inner, outer, action, environment.action()) {
                Err(why) => Answer::Undecided(why),
                Ok(changed) => {
                    let scene =
                        Scene::new(*inner, &schema, environment, &policies, Some(&changed))?;
                    self.report.assume(scene.required());
                    let may_fail = |side: &Side<'_>, policy: &Policy| {
                        self.report.may_fail(side.name, policy.id(), action)
                    };
                    let solver = &mut self.solver;
                    let question = scene.allows_no_more(solver, self.sides, &changed, may_fail);
                    match (
                        question.await?,
                        self.report.told_apart(inner, outer, action),
                    ) {
                        // A request on which a policy of the outer set fails.
                        (Answer::Undecided(_), Some(found)) => Answer::Counterexample(found),
                        (answer, _) => answer,
                    }
                }
            };
            let claim = Claim::AllowsNoMore {
                inner: inner.name,
                outer: outer.name,
            };
            self.report.add(claim, action, answer);
        }
        Ok(())
    }
}

fn compiled(side: &Side<'_>) -> Result<CompiledSchema, Failure> {
    CompiledSchema::new(side.schema).map_err(|error| Failure::misuse(solver::reason(&error)))
}
