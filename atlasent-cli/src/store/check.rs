//! `atlasent store check`: checks the integrity of a store and lists its problems.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use atlasent_authority::store::StoreReport;
use atlasent_authority::{PostgresStore, RedbStore};
use clap::Args;

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::output::{Output, escaped};
use crate::runtime;

/// The maximum number of findings of the chain in the report.
const MAX_SHOWN_FINDINGS: usize = 20;

/// Check the integrity of a store: its file, its event chain and its permit ledger
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent store check                                 # the store in the data directory, while no server runs
  atlasent store check /backups/authority.redb
  ATLASENT_STORE=postgres://… atlasent store check --store-env ATLASENT_STORE

The check reads a temporary copy next to the file, of the same size, and does not change the file. In a database it
checks the chain and the ledger, and servers may keep running.

Exit codes:
  0  the store is intact
  1  the store is damaged: the report lists the problems
  2  the file is not readable as a store, or is in use"
)]
pub(super) struct Check {
    /// The file of a store, such as a backup [default: the store in the data directory]
    #[arg(value_name = "FILE", conflicts_with_all = ["data_dir", "store_env"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    data: DataDir,

    /// The environment variable with the URL of a database, postgres://…, whose store is checked
    #[arg(long, value_name = "NAME", conflicts_with = "data_dir")]
    store_env: Option<String>,
}

/// Checks the store in the database or in the file.
pub(super) fn run(arguments: &Check) -> Result<Output, Failure> {
    if let Some(variable) = &arguments.store_env {
        let address = crate::location::database_url(variable)?;
        let report = runtime::run(async {
            let store = PostgresStore::connect(&address)
                .await
                .map_err(Failure::misuse)?;
            store.check().await.map_err(Failure::misuse)
        })?;
        return report_result("the store in PostgreSQL", &report);
    }
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => data_dir::store_file(&arguments.data.path()?),
    };
    check_file(&file)
}

/// Checks the store in a file. A damaged store is a negative result.
pub(super) fn check_file(file: &Path) -> Result<Output, Failure> {
    let report = RedbStore::check(file).map_err(Failure::misuse)?;
    report_result(&format!("`{}`", file.display()), &report)
}

fn report_result(name: &str, report: &StoreReport) -> Result<Output, Failure> {
    let output = Output::new(report_text(name, report));
    match report.is_good() {
        true => Ok(output),
        false => Err(Failure::NegativeResult(output)),
    }
}

fn report_text(name: &str, report: &StoreReport) -> String {
    let verdict = match report.is_good() {
        true => "is intact",
        false => "is damaged",
    };
    let mut lines = vec![format!("{name} {verdict}")];
    push_organization(&mut lines, report);
    let (intact, damaged): (Vec<_>, Vec<_>) =
        report.others.values().partition(|other| other.is_good());
    for other in &damaged {
        push_organization(&mut lines, other);
    }
    if !intact.is_empty() {
        lines.push(format!(
            "  others:    {} organizations, intact",
            intact.len()
        ));
    }
    if !report.is_good() {
        lines.push(
            "  next:      keep a copy of the damaged store, restore the newest backup that passes this check (see \
             `serve --accept-older-store`), and compare later exports with earlier ones (`audit verify --after`)"
                .to_owned(),
        );
    }
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", escaped(line));
        text
    })
}

fn push_organization(lines: &mut Vec<String>, report: &StoreReport) {
    let (head, chain) = (&report.head, &report.chain);
    lines.extend([
        format!(
            "  chain:     {} events of the organization `{}`",
            chain.events, head.org_id
        ),
        format!("  archived:  {} events", report.dropped),
        format!("  head:      event {}, hash {}", head.sequence, head.hash),
        format!("  ledger:    {} entries", report.cells),
    ]);
    let found = report.found + chain.found;
    if found > 0 || !chain.is_intact() {
        lines.push(format!("  findings:  {found}"));
        let problems = report
            .problems
            .iter()
            .map(|problem| format!("    {problem}"));
        lines.extend(problems);
        let findings = chain.findings.iter().take(MAX_SHOWN_FINDINGS);
        lines.extend(findings.map(|finding| format!("    {finding}")));
    }
}
