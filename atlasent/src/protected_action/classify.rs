//! Finds destructive commands by their text.
//!
//! The eight phrases of the AtlaSent SDKs match wherever Python's `re` matches them. A short table
//! adds other commands with the same effects.

/// The action name that [`classify_command`] returns.
pub const DESTRUCTIVE_COMMAND: &str = "destructive.command";

/// Returns [`DESTRUCTIVE_COMMAND`] if a shell command or SQL statement is known to be destructive.
///
/// Use the result as the action of a [`ProtectedAction`](crate::protected_action::ProtectedAction).
/// It catches mistakes and is not a security boundary: a command can hide its effect from every
/// search in its text. Protect an operation that needs a permit itself, whatever the text of the
/// command.
///
/// ```
/// use atlasent::protected_action::{DESTRUCTIVE_COMMAND, classify_command};
///
/// assert_eq!(classify_command("sudo RM  -rf /"), Some(DESTRUCTIVE_COMMAND));
/// assert_eq!(classify_command("git push --force origin main"), Some(DESTRUCTIVE_COMMAND));
/// assert_eq!(classify_command("rm notes.txt"), None);
/// ```
#[must_use]
pub fn classify_command(command: &str) -> Option<&'static str> {
    let folded: String = command.chars().map(fold).collect();
    let destroys = contains_phrase(&folded) || contains_call(&folded);
    destroys.then_some(DESTRUCTIVE_COMMAND)
}

/// The phrases that match anywhere in the text, with any white space between the words. The first
/// eight are those of the contract (part A, Combinators), which match without word boundaries.
const PHRASES: [&str; 9] = [
    "rm -rf",
    "drop table",
    "drop database",
    "delete from",
    "truncate table",
    "railway volume delete",
    "kubectl delete",
    "terraform destroy",
    "drop schema",
];

/// A destructive call of a program.
struct DestructiveCall {
    program: &'static str,
    /// The subcommand, if the program has subcommands.
    subcommand: Option<&'static str>,
    /// The call needs one option of each group. `-x` also matches within bundled letters such as
    /// `-ax`; `abc*` matches the beginning of a word.
    options: &'static [&'static [&'static str]],
}

const CALLS: &[DestructiveCall] = &[
    call("rm", None, &[&["-r", "--recursive"], FORCE]),
    call("find", None, &[&["-delete"]]),
    call("mkfs", None, &[]),
    call("dd", None, &[DISKS]),
    call(
        "git",
        Some("push"),
        &[&["-f", "--force", "--force-with-lease*", "--mirror"]],
    ),
    call("git", Some("reset"), &[&["--hard"]]),
    call("git", Some("clean"), &[FORCE]),
    call("kubectl", Some("delete"), &[]),
    call("helm", Some("uninstall"), &[]),
    call("helm", Some("delete"), &[]),
    call("terraform", Some("destroy"), &[]),
    call("terraform", Some("apply"), &[DESTROY]),
    call("tofu", Some("destroy"), &[]),
    call("tofu", Some("apply"), &[DESTROY]),
    call("pulumi", Some("destroy"), &[]),
];

const FORCE: &[&str] = &["-f", "--force"];
const DESTROY: &[&str] = &["-destroy", "--destroy"];
/// The outputs of `dd` that destroy data. `of=/dev/*` would include `/dev/null`, which benchmarks
/// write to.
const DISKS: &[&str] = &[
    "of=/dev/disk*",
    "of=/dev/hd*",
    "of=/dev/mapper/*",
    "of=/dev/mmcblk*",
    "of=/dev/nvme*",
    "of=/dev/sd*",
    "of=/dev/vd*",
    "of=/dev/xvd*",
];

const fn call(
    program: &'static str,
    subcommand: Option<&'static str>,
    options: &'static [&'static [&'static str]],
) -> DestructiveCall {
    DestructiveCall {
        program,
        subcommand,
        options,
    }
}

/// Maps the characters that Python's `re.IGNORECASE` treats as the same to one: the long s, the
/// Kelvin sign and the Turkish letters. A test of every code point on CPython 3.11 found no other
/// character beyond ASCII that matches an ASCII letter.
fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        _ => c.to_ascii_lowercase(),
    }
}

/// Returns whether Python's `\s` matches: Unicode's white space and the four information
/// separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn contains_phrase(folded: &str) -> bool {
    let mut spaced = String::with_capacity(folded.len());
    for word in folded.split(is_space).filter(|word| !word.is_empty()) {
        spaced.push_str(word);
        spaced.push(' ');
    }
    PHRASES.iter().any(|phrase| spaced.contains(phrase))
}

fn contains_call(folded: &str) -> bool {
    let joined = folded.replace("\\\n", " ");
    joined.split([';', '|', '&', '\n']).any(|command| {
        // Text in quotes or parentheses is often a command, too, so they separate words.
        let words: Vec<&str> = command
            .split(|c| is_space(c) || matches!(c, '"' | '\'' | '`' | '(' | ')'))
            .filter(|word| !word.is_empty())
            .collect();
        CALLS.iter().any(|call| call.matches(&words))
    })
}

impl DestructiveCall {
    fn matches(&self, words: &[&str]) -> bool {
        self.arguments(words).is_some_and(|arguments| {
            self.options.iter().all(|group| {
                let is_one = |word: &&str| group.iter().any(|option| matches_option(word, option));
                arguments.iter().any(is_one)
            })
        })
    }

    /// Returns the words after the program and its subcommand, wherever in the command the call
    /// begins. Only options, with or without a value, may stand between the two:
    /// `kubectl -n prod delete`, `git -C repo push`.
    fn arguments<'a, 'b>(&self, words: &'a [&'b str]) -> Option<&'a [&'b str]> {
        let mut called = false;
        let mut value_may_follow = false;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if program(word) == self.program {
                called = true;
                value_may_follow = false;
            } else if called && Some(*word) == self.subcommand {
                return Some(words.as_slice());
            } else if word.starts_with('-') {
                value_may_follow = !word.contains('=');
            } else {
                called &= value_may_follow;
                value_may_follow = false;
            }
            if called && self.subcommand.is_none() {
                return Some(words.as_slice());
            }
        }
        None
    }
}

/// Returns the name of the program that a word calls: `rm` for `/bin/rm` and `\rm`, `mkfs` for
/// `mkfs.ext4`.
fn program(word: &str) -> &str {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    name.split('.').next().unwrap_or(name)
}

fn matches_option(word: &str, option: &str) -> bool {
    match (option.strip_suffix('*'), option.strip_prefix('-')) {
        (Some(beginning), _) => word.starts_with(beginning),
        (None, Some(letter)) if letter.len() == 1 => word
            .strip_prefix('-')
            .is_some_and(|letters| !letters.starts_with('-') && letters.contains(letter)),
        _ => word == option,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn is_destructive(command: &str) -> bool {
        classify_command(command).is_some()
    }

    #[test]
    fn the_eight_phrases_of_the_contract_are_found_anywhere() {
        for command in [
            "rm -rf /",
            "sudo RM\t-RFv x",
            "farm -rf",
            "rm\n-rf",
            "x;DROP table users",
            "drop\u{3000}DATABASE",
            "Delete \u{1c}\u{85} From t",
            "truncate table",
            "railway volume delete",
            "kubectl  delete pod",
            "cd infra && terraform destroy -auto-approve",
            // Python folds these.
            "\u{212a}ubectl delete",
            "ra\u{131}lway volume delete",
            "ra\u{130}lway volume delete",
            "terraform de\u{17f}troy",
        ] {
            assert_eq!(
                classify_command(command),
                Some("destructive.command"),
                "{command:?}"
            );
        }
    }

    #[test]
    fn other_spellings_of_the_same_deeds_are_found() {
        for command in [
            "rm -fr x",
            "rm -r -f x",
            "rm -f x -R",
            "rm --recursive --force x",
            "/bin/rm -v -rf x",
            "\\rm -vfr x",
            "ls && rm -r \\\n -f x",
            "bash -c 'rm -r -f x'",
            "echo $(rm -r x -f)",
            "DROP SCHEMA public CASCADE",
            "find . -name '*.log' -delete",
            "mkfs.ext4 /dev/sda1",
            "sudo dd if=x.iso of=/dev/sda bs=4M",
            "git push -f",
            "git push origin main --force",
            "git -C repo push --force-with-lease=main",
            "git push -uf origin main",
            "git push --mirror",
            "git reset --hard HEAD~3",
            "git clean -fdx",
            "kubectl -n prod delete pod x",
            "kubectl --namespace=prod delete pod x",
            "helm uninstall x",
            "terraform -chdir=infra destroy",
            "terraform apply -destroy",
            "tofu destroy",
            "pulumi destroy",
        ] {
            assert!(is_destructive(command), "{command:?}");
        }
    }

    #[test]
    fn harmless_commands_are_not_flagged() {
        for command in [
            "",
            "rm notes.txt",
            "rm -r build",
            "rm -f lock",
            "rm -r build; ls -f",
            "rm -r build\nls -f",
            "docker run --rm -it -v x:y image",
            "git push",
            "git push --follow-tags",
            "git push && tail -f log",
            "git commit -m 'push --force'",
            "git log --hard push -f",
            "git reset HEAD~1",
            "git clean -n",
            "kubectl get pods",
            "kubectl get delete",
            "kubectl describe pod delete",
            "kubectl --context=prod describe delete",
            "terraform plan",
            "terraform apply",
            "helm list",
            "dd if=/dev/sda of=/dev/null",
            "find . -name delete",
            "cat mkfs-notes.md",
            "SELECT * FROM dropped_tables",
            "the drop: table for two",
            "delete the form",
        ] {
            assert_eq!(classify_command(command), None, "{command:?}");
        }
    }

    #[test]
    fn a_long_command_takes_time_in_proportion() {
        let hostile = "git -x rm -r ".repeat(20_000);
        let started = std::time::Instant::now();
        assert!(!is_destructive(&hostile));
        // Milliseconds; a quadratic search takes minutes.
        assert!(started.elapsed().as_secs() < 10);
    }

    /// One way to write a letter, as Python's `re.IGNORECASE` reads it.
    fn spelled(letter: char) -> impl Strategy<Value = char> {
        let mut same = vec![letter, letter.to_ascii_uppercase()];
        match letter {
            's' => same.push('ſ'),
            'k' => same.push('\u{212a}'),
            'i' => same.extend(['ı', 'İ']),
            _ => {}
        }
        select(same)
    }

    fn white_space() -> impl Strategy<Value = String> {
        // All that `\s` matches on CPython 3.11.
        let all = ('\u{9}'..='\u{d}')
            .chain('\u{1c}'..=' ')
            .chain(['\u{85}', '\u{a0}', '\u{1680}'])
            .chain('\u{2000}'..='\u{200a}')
            .chain(['\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}'])
            .collect::<Vec<_>>();
        prop::collection::vec(select(all), 1..4).prop_map(String::from_iter)
    }

    fn spelled_phrase() -> impl Strategy<Value = String> {
        select(&PHRASES[..8]).prop_flat_map(|phrase| {
            let parts: Vec<BoxedStrategy<String>> = phrase
                .chars()
                .map(|c| match c {
                    ' ' => white_space().boxed(),
                    c => spelled(c).prop_map(String::from).boxed(),
                })
                .collect();
            parts.prop_map(|parts| parts.concat())
        })
    }

    fn word() -> impl Strategy<Value = String> {
        let known = CALLS.iter().flat_map(|call| {
            let options = call.options.iter().copied().flatten().copied();
            [call.program]
                .into_iter()
                .chain(call.subcommand)
                .chain(options)
        });
        prop_oneof![
            4 => select(known.map(str::to_owned).collect::<Vec<_>>()),
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn no_way_to_write_one_of_the_eight_is_missed(
            before in any::<String>(), phrase in spelled_phrase(), after in any::<String>(),
        ) {
            let text = [before, phrase, after].concat();
            prop_assert!(is_destructive(&text));
        }

        #[test]
        fn case_makes_no_difference(words in prop::collection::vec(word(), 0..6)) {
            let text = words.join(" ");
            prop_assert_eq!(classify_command(&text), classify_command(&text.to_ascii_uppercase()));
        }
    }
}
