//! The commands in the READMEs and in `docs/`: the command line accepts each as it is shown.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{atlasent, directory};

/// Returns the README of the repository, that of this crate, and all pages of `docs/`.
fn pages() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.join("..");
    let mut pages = vec![own.join("README.md"), root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// Returns the arguments of each `atlasent` in the shell blocks of a page.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut lines = page.lines();
    while let Some(fence) = lines.next() {
        if !fence.starts_with("```") {
            continue;
        }
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        if ["```sh", "```console"].contains(&fence) {
            let block = block.join("\n").replace("\\\n", " ");
            commands.extend(block.lines().flat_map(commands_of_line));
        }
    }
    commands
}

/// Returns the arguments of each `atlasent` in a line, up to a redirection or `--`.
fn commands_of_line(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line.trim_start_matches("$ ")).unwrap_or_default();
    let parts = words.split(|word| ["|", "||", "&&"].contains(&word.as_str()));
    let commands = parts.filter_map(|part| {
        let name = part.iter().position(|word| word == "atlasent")?;
        // Variables may stand before a command; `cargo add atlasent` is another one.
        let is_run = name == 0 || part[0].contains('=');
        let arguments = part[name + 1..]
            .iter()
            .take_while(|word| word.as_str() != "--" && !word.starts_with(['<', '>']));
        is_run.then(|| arguments.cloned().collect::<Vec<_>>())
    });
    commands.collect()
}

/// Whether this build has the features of a command.
fn is_built(arguments: &[String]) -> bool {
    let names = |word: &str| arguments.iter().any(|argument| argument == word);
    let proves = names("prove") || names("compare");
    (cfg!(feature = "prove") || !proves) && (cfg!(feature = "otlp") || !names("--audit-log-otlp"))
}

#[test]
fn each_command_of_the_pages_is_accepted_as_it_is_shown() {
    let mut accepted = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for arguments in commands(&text) {
            if !is_built(&arguments) {
                continue;
            }
            // A command checks the arguments before `--help`, and does nothing.
            let with_help = arguments.iter().map(String::as_str).chain(["--help"]);
            let ended = atlasent(with_help).run();
            let shown = format!("{}: atlasent {}", page.display(), arguments.join(" "));
            assert_eq!(ended.code, 0, "{shown}: {}", ended.stderr);
            accepted += 1;
        }
    }
    assert!(accepted > 50, "only {accepted} commands were found");
}

#[test]
fn the_policy_commands_of_the_readme_of_this_crate_succeed_one_after_the_other() {
    let folder = directory(&[]);
    let readme = include_str!("../../README.md");
    let of_policies = commands(readme)
        .into_iter()
        .filter(|arguments| arguments[0] == "policy");
    let mut run = Vec::new();
    for arguments in of_policies {
        let mut command = atlasent(&arguments).into_command();
        let output = command.current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        run.push(arguments[1].clone());
    }
    assert_eq!(run, ["init", "check", "test"]);
}
