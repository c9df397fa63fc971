//! How deeply policies and schemas may nest. Cedar recurses over them, and a stack that overflows
//! ends the process.

use std::thread;

use super::error::{PolicyError, PolicyProblem, Source};

/// How deeply a policy or a type may nest. Each bracket around a place counts, and so does each
/// operator of the chains that the place is in: `a && b && c` is `(a && b) && c`. Of what `&&` and
/// `||` link, the deepest operand counts.
pub(super) const MAX_DEPTH: usize = 200;

/// The stack for all that recurses over a set: of which [`MAX_DEPTH`] brackets need 10 MiB in a
/// debug build. It is reserved, and takes memory where it is used.
const STACK: usize = 64 << 20;

/// Runs on a stack that the deepest set fits on, whatever the caller's is.
pub(super) fn on_large_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, PolicyError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("atlasent-policy".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, run);
        let thread = thread.map_err(|error| {
            let message = format!("cannot start a thread to read them on: {error}");
            PolicyProblem::unplaced("<policies>", message)
        })?;
        match thread.join() {
            Ok(done) => Ok(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Refuses a text that nests too deeply.
pub(super) fn exceeded(source: &Source) -> Option<PolicyProblem> {
    let at = place_beyond(&source.text, MAX_DEPTH)?;
    let message = format!(
        "more than {MAX_DEPTH} brackets and chained operators in each other: split the policy, or \
         use a set (`[…].contains(…)`)"
    );
    Some(source.problem_at(at, message))
}

/// Where a text gets deeper than `most`. Reads it once, without recursion.
pub(super) fn place_beyond(text: &str, most: usize) -> Option<usize> {
    let mut scan = Scan::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = match byte {
            b'"' => string(rest),
            b'/' if rest.starts_with(b"//") => comment(rest),
            byte if is_word(byte) => {
                let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                let word = rest.get(..length).unwrap_or_default();
                match word {
                    b"if" => scan.link(),
                    b"then" | b"else" => scan.operand(),
                    b"in" | b"has" | b"like" | b"is" => scan.operator(),
                    _ => {}
                }
                length
            }
            b'(' | b'[' | b'{' => {
                scan.open();
                1
            }
            b')' | b']' | b'}' => {
                scan.close();
                1
            }
            b',' | b';' => {
                scan.separate();
                1
            }
            b'&' | b'|' if rest.get(1) == Some(&byte) => {
                scan.link();
                2
            }
            b'=' | b'!' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' | b'.' => {
                scan.operator();
                let is_pair = matches!(rest, [b'=' | b'!' | b'<' | b'>', b'=', ..]);
                if is_pair { 2 } else { 1 }
            }
            _ => 1,
        };
        if scan.depth() > most {
            return Some(at);
        }
        at += length;
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the string that a text begins with, its quotes included.
fn string(text: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the comment that a text begins with. To Cedar, a carriage return ends a line, too.
fn comment(text: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    text.iter().take_while(|byte| !is_end(byte)).count()
}

/// The depth of what was read, from the inside to the outside.
#[derive(Default)]
struct Scan {
    around: Vec<Level>,
    level: Level,
}

/// What is between two brackets.
#[derive(Default)]
struct Level {
    /// The depth of the deepest element before this one.
    deepest: usize,
    /// How often `&&`, `||` and `if` stand in this element.
    links: usize,
    /// The depth of the deepest operand that they link, before this one.
    linked: usize,
    /// The other operators of this operand.
    operators: usize,
    /// The depth of the deepest brackets in this operand.
    inner: usize,
}

impl Level {
    fn element(&self) -> usize {
        self.links + self.linked.max(self.operators + self.inner)
    }
}

impl Scan {
    /// At the least, the depth that the element under way gets.
    fn depth(&self) -> usize {
        self.around.len().max(self.level.element())
    }

    fn operator(&mut self) {
        self.level.operators += 1;
    }

    /// Begins the next operand.
    fn operand(&mut self) {
        let level = &mut self.level;
        level.linked = level.linked.max(level.operators + level.inner);
        (level.operators, level.inner) = (0, 0);
    }

    fn link(&mut self) {
        self.operand();
        self.level.links += 1;
    }

    /// Begins the next element.
    fn separate(&mut self) {
        self.level = Level {
            deepest: self.level.deepest.max(self.level.element()),
            ..Level::default()
        };
    }

    fn open(&mut self) {
        self.around.push(std::mem::take(&mut self.level));
    }

    fn close(&mut self) {
        self.separate();
        let depth = self.level.deepest + 1;
        // A bracket too many is for the parser to report.
        self.level = self.around.pop().unwrap_or_default();
        self.level.inner = self.level.inner.max(depth);
    }
}
