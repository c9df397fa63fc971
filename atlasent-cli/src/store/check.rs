//! `atlasent store check`: whether a store is whole, and what is wrong with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use atlasent_authority::store::StoreReport;
use atlasent_authority::{PostgresStore, RedbStore};
use clap::Args;

use crate::data::{self, DataDir};
use crate::exit::Failure;
use crate::output::{Output, harmless};
use crate::runtime;

/// How many findings of the chain people get to read.
const SHOWN: usize = 20;

/// Check a store: its file, its chain and its ledger
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent store check                                 # the store in the data directory, while no server runs
  atlasent store check /backups/authority.redb
  ATLASENT_STORE=postgres://… atlasent store check --store-env ATLASENT_STORE

The file is not changed: what is read is a temporary copy beside it, which takes as much room. Of a database the chain
and the ledger are checked, while servers may go on.

Exit codes:
  0  the store is whole
  1  it is not: the report says what is wrong
  2  it cannot be read as a store, or is in use"
)]
pub(super) struct Check {
    /// The file of a store, such as a backup [default: the one in the data directory]
    #[arg(value_name = "FILE", conflicts_with_all = ["data_dir", "store_env"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    data: DataDir,

    /// An environment variable with the address of a database, to check the store in it
    #[arg(long, value_name = "NAME", conflicts_with = "data_dir")]
    store_env: Option<String>,
}

/// Checks the store, and reports.
pub(super) fn run(arguments: &Check) -> Result<Output, Failure> {
    if let Some(variable) = &arguments.store_env {
        let address = crate::key::address(variable)?;
        let report = runtime::run(async {
            let store = PostgresStore::connect(&address)
                .await
                .map_err(Failure::misuse)?;
            store.check().await.map_err(Failure::misuse)
        })?;
        return answer("the store in PostgreSQL", &report);
    }
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => data::store_file(&arguments.data.path()?),
    };
    check_file(&file)
}

/// Checks the store in a file.
pub(super) fn check_file(file: &Path) -> Result<Output, Failure> {
    let report = RedbStore::check(file).map_err(Failure::misuse)?;
    answer(&format!("`{}`", file.display()), &report)
}

fn answer(name: &str, report: &StoreReport) -> Result<Output, Failure> {
    let output = Output::new(text(name, report));
    match report.is_good() {
        true => Ok(output),
        false => Err(Failure::Negative(output)),
    }
}

fn text(name: &str, report: &StoreReport) -> String {
    let (head, chain) = (&report.head, &report.chain);
    let verdict = match report.is_good() {
        true => "is whole",
        false => "is not whole",
    };
    let mut lines = vec![
        format!("{name} {verdict}"),
        format!("  chain:     of `{}`, {} events", head.org_id, chain.events),
        format!("  dropped:   {}", report.dropped),
        format!("  head:      event {}, hash {}", head.sequence, head.hash),
        format!("  ledger:    {} entries", report.cells),
    ];
    if !report.is_good() {
        let found = report.found + chain.found;
        lines.push(format!("  findings:  {found}"));
        let problems = report
            .problems
            .iter()
            .map(|problem| format!("    {problem}"));
        lines.extend(problems);
        let findings = chain.findings.iter().take(SHOWN);
        lines.extend(findings.map(|finding| format!("    {finding}")));
        lines.push(
            "  next:      keep a copy of it as it is, restore the newest backup that passes this check (see \
             `serve --accept-older-store`), and compare later exports with earlier ones (`audit verify --after`)"
                .to_owned(),
        );
    }
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", harmless(line));
        text
    })
}
