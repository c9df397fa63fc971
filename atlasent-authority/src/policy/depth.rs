//! The limit on how deeply policies and schemas nest. Cedar recurses over them, and a stack
//! overflow would end the process.

use std::thread;

use super::error::{PolicyError, PolicyProblem, Source};

/// How deeply a policy or a type may nest. Each enclosing bracket counts, and so does each operator
/// of the enclosing chains: `a && b && c` is `(a && b) && c`. For `&&` and `||`, the deepest
/// operand counts.
pub(super) const MAX_DEPTH: usize = 200;

/// The stack for code that recurses over a set. [`MAX_DEPTH`] brackets need 10 MiB in a debug
/// build. The stack is reserved address space, which takes memory only where it is used.
const STACK: usize = 64 << 20;

/// Runs `run` on a stack that is large enough for the deepest set, whatever the caller's stack.
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

/// Returns the problem of a text that nests too deeply.
pub(super) fn exceeded(source: &Source) -> Option<PolicyProblem> {
    let at = place_beyond(&source.text, MAX_DEPTH)?;
    let message = format!(
        "more than {MAX_DEPTH} brackets and chained operators in each other: split the policy, or \
         use a set (`[…].contains(…)`)"
    );
    Some(source.problem_at(at, message))
}

/// Returns the offset at which a text nests deeper than `most`. Reads the text once, without
/// recursion.
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

/// Returns the length of the string at the start of a text, with its quotes.
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

/// Returns the length of the comment at the start of a text. Cedar ends a line at a carriage
/// return, too.
fn comment(text: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    text.iter().take_while(|byte| !is_end(byte)).count()
}

/// The depth of the text so far, from the inside to the outside.
#[derive(Default)]
struct Scan {
    around: Vec<Level>,
    level: Level,
}

/// The depth between two brackets.
#[derive(Default)]
struct Level {
    /// The depth of the deepest element before the present one.
    deepest: usize,
    /// The number of `&&`, `||` and `if` in this element.
    links: usize,
    /// The depth of the deepest operand of those before the present one.
    linked: usize,
    /// The number of other operators in this operand.
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
    /// Returns the depth of the present element so far.
    fn depth(&self) -> usize {
        self.around.len().max(self.level.element())
    }

    fn operator(&mut self) {
        self.level.operators += 1;
    }

    /// Starts the next operand.
    fn operand(&mut self) {
        let level = &mut self.level;
        level.linked = level.linked.max(level.operators + level.inner);
        (level.operators, level.inner) = (0, 0);
    }

    fn link(&mut self) {
        self.operand();
        self.level.links += 1;
    }

    /// Starts the next element.
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
        // The parser reports a bracket too many.
        self.level = self.around.pop().unwrap_or_default();
        self.level.inner = self.level.inner.max(depth);
    }
}
