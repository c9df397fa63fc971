//! `atlasent completions`.

use std::process::Command;

use crate::support::atlasent;

/// Returns bash's completions of the last word, with the script loaded.
fn completions(words: &[&str]) -> Vec<String> {
    let script = atlasent(["completions", "bash"]).prints();
    let ask = format!(
        "{script}\nCOMP_WORDS=({}) COMP_CWORD={}; _atlasent atlasent \"${{COMP_WORDS[COMP_CWORD]}}\" ''; echo \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1,
    );
    // The script is longer than the longest argument of a program.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, ask).unwrap();
    let output = Command::new("bash").arg(file.path()).output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completions(&["atlasent", "tok"]), ["token"]);
    assert_eq!(
        completions(&["atlasent", "token", "i"]),
        ["issue", "inspect"]
    );
    assert_eq!(
        completions(&["atlasent", "token", "issue", "--sc"]),
        ["--scope"]
    );
    assert_eq!(completions(&["atlasent", "completions", "z"]), ["zsh"]);
}

#[test]
fn each_shell_gets_a_script_in_its_own_language() {
    for (shell, sign) in [
        ("bash", "complete -F _atlasent"),
        ("zsh", "#compdef atlasent"),
        ("fish", "complete -c atlasent"),
    ] {
        let script = atlasent(["completions", shell]).prints();
        assert!(script.contains(sign), "{shell}");
        for word in [
            "issue",
            "validate",
            "inspect",
            "provision",
            "policy",
            "evaluate",
            "completions",
        ] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn another_shell_is_bad_usage() {
    let line = atlasent(["completions", "powershell"]).misuse();
    assert!(line.contains("`bash`, `zsh`, `fish`"), "{line}");
}
