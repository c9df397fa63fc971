//! The solver of the tests, policy sets to prove, and requests by the authority.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context};
use atlasent_authority::Policies;
use atlasent_authority::policy::Explanation;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Atlasent, Ended, atlasent, directory};

/// The policies that `atlasent serve` writes at its first start.
pub(super) const SCHEMA: &str = include_str!("../../../policies/schema.cedarschema");
pub(super) const DEPLOY: &str = include_str!("../../../policies/deploy.cedar");
pub(super) const PATIENTS: &str = include_str!("../../../policies/patients.cedar");
pub(super) const ENTITIES: &str = include_str!("../../../policies/entities.json");

/// The most that those may allow.
pub(super) const BOUNDS: &str = r#"
permit (principal in Group::"deployers", action == Action::"deploy.production", resource)
when { context.replicas <= 50 };
permit (principal in Group::"clinic", action == Action::"modify_patient_record", resource)
unless { context.change_reason == "" || resource == Resource::"patient-1" };
"#;

/// Returns cvc5. Without it, prints that the test is skipped, or fails if
/// `ATLASENT_REQUIRE_CVC5` is 1.
pub(super) fn cvc5() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("cvc5");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [installed].into_iter().chain(std::env::split_paths(&path));
    let mut programs = folders.map(|folder| folder.join("cvc5"));
    let found = programs.find(|program| program.is_file());
    if found.is_none() {
        let required = std::env::var_os("ATLASENT_REQUIRE_CVC5").is_some_and(|value| value == "1");
        assert!(!required, "no cvc5: `.ci/cvc5` installs it");
        // Written directly, because the test harness shows the output of failures only.
        let _ = writeln!(io::stderr(), "skipped: no cvc5: `.ci/cvc5` installs it");
    }
    found
}

/// A directory of policies, and beside it the files of a run.
pub(super) struct Set {
    folder: TempDir,
}

impl Set {
    /// The policies of the first start.
    pub(super) fn first() -> Self {
        Self::new(&[
            ("schema.cedarschema", SCHEMA),
            ("deploy.cedar", DEPLOY),
            ("patients.cedar", PATIENTS),
            ("entities.json", ENTITIES),
        ])
    }

    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let folder = directory(&[]);
        fs::create_dir(folder.path().join("policies")).unwrap();
        let this = Self { folder };
        for (name, text) in files {
            fs::write(this.path().join(name), text).unwrap();
        }
        this
    }

    /// Replaces a text in one of the files.
    pub(super) fn with(self, name: &str, from: &str, to: &str) -> Self {
        let file = self.path().join(name);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        fs::write(file, text.replace(from, to)).unwrap();
        self
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("policies")
    }

    /// Returns the path of a file beside the policies.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a program beside the policies.
    pub(super) fn program(&self, name: &str, text: &str) -> PathBuf {
        let file = self.beside(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    pub(super) fn prove(&self, bounds: &str, solver: &Path, more: &[&str]) -> Atlasent {
        let file = self.beside("bounds.cedar");
        fs::write(&file, bounds).unwrap();
        let (directory, file) = (self.path(), file);
        let arguments = ["policy", "prove", text(&directory), "--bounds", text(&file)];
        atlasent(
            arguments
                .iter()
                .copied()
                .chain(["--solver", text(solver)])
                .chain(more.iter().copied()),
        )
    }

    pub(super) fn compare(&self, new: &Self, solver: &Path, more: &[&str]) -> Atlasent {
        let (old, new) = (self.path(), new.path());
        let arguments = [
            "policy",
            "compare",
            text(&old),
            text(&new),
            "--solver",
            text(solver),
        ];
        atlasent(arguments.iter().chain(more))
    }

    pub(super) fn policies(&self) -> Policies {
        Policies::from_dir(self.path()).unwrap()
    }

    /// Loads other policies with the schema and the entities of this set.
    pub(super) fn policies_with(&self, policies: &str) -> Policies {
        let read = |name: &str| fs::read_to_string(self.path().join(name)).unwrap();
        Policies::builder()
            .schema("schema.cedarschema", read("schema.cedarschema"))
            .entities("entities.json", read("entities.json"))
            .source("bounds.cedar", policies)
            .build()
            .unwrap()
    }

    /// Runs `policy test` on cases.
    pub(super) fn test(&self, cases: &Path) -> Ended {
        let directory = self.path();
        atlasent([
            "policy",
            "test",
            text(cases),
            "--policies",
            text(&directory),
        ])
        .run()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns the findings of a JSON report with this result.
pub(super) fn findings<'r>(report: &'r Value, result: &str) -> Vec<&'r Value> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["result"] == result)
        .collect()
}

/// Lets policies decide the request of a counterexample.
pub(super) fn decide(policies: &Policies, finding: &Value) -> Explanation {
    let case = &finding["counterexample"];
    let field = |name: &str| case[name].as_str().unwrap().to_owned();
    let context = Context::parse(&case["context"].to_string()).unwrap();
    let mut action = AnyAction::new(field("action"))
        .unwrap()
        .with_context(context);
    if let Some(resource) = case["resource"].as_str() {
        action = action.with_resource(resource);
    }
    let agent = Agent::new(field("agent")).unwrap();
    policies.explain(&EvaluateRequest::new(agent, &action).unwrap())
}

/// Runs a command whose report is JSON, and asserts its exit code.
pub(super) fn json(command: Atlasent, code: i32) -> Value {
    let ended = command.run();
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (code, ""),
        "{}",
        ended.stdout
    );
    serde_json::from_str(&ended.stdout).unwrap()
}
