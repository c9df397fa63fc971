//! Runs the binary with the environment variables of a test, and no others.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;

/// 32 bytes, in hex.
pub(crate) const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A run of `atlasent` that has not started yet.
pub(crate) struct Atlasent {
    command: Command,
    stdin: Vec<u8>,
}

pub(crate) fn atlasent<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Atlasent {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atlasent"));
    command.env_clear().args(arguments);
    Atlasent {
        command,
        stdin: Vec::new(),
    }
}

impl Atlasent {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets [`SECRET`] as the key.
    pub(crate) fn keyed(self) -> Self {
        self.env("ATI_JWT_SECRET", SECRET)
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Returns the command, for a test that sets its streams.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    pub(crate) fn run(mut self) -> Ended {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = self.stdin;
        // A command that does not read all of its input closes the pipe, so a failed write is
        // expected.
        let feed = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        Ended {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns standard output. Asserts exit code 0 and an empty standard error.
    pub(crate) fn prints(self) -> String {
        let ended = self.run();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        ended.stdout
    }

    /// Returns the findings on standard output. Asserts exit code 1 and an empty standard error.
    pub(crate) fn finds(self) -> String {
        let ended = self.run();
        assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
        ended.stdout
    }

    /// Returns the reason of a refusal. Asserts exit code 1 and one line on standard error.
    pub(crate) fn refusal(self) -> String {
        self.run().failure(1, "refused: ")
    }

    /// Returns the reason of an error. Asserts exit code 2 and one line on standard error.
    pub(crate) fn misuse(self) -> String {
        self.run().failure(2, "error: ")
    }
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Returns the reason of a failure. Asserts the exit code, one line on standard error that
    /// starts with the label, and an empty standard output.
    pub(crate) fn failure(self, code: i32, kind: &str) -> String {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (code, ""),
            "{}",
            self.stderr
        );
        let line = self.stderr.strip_suffix('\n').expect("a whole line");
        assert!(
            !line.contains(char::is_control),
            "more than a line: {line:?}"
        );
        line.strip_prefix(kind).expect(line).to_owned()
    }
}

/// Creates a temporary directory with these files.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// Returns the path of a test key.
pub(crate) fn key(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/cli/keys", name]
        .iter()
        .collect()
}

/// Issues a valid token, signed with [`SECRET`].
pub(crate) fn token() -> String {
    let issued = atlasent(["token", "issue", "--sub", "a", "--scope", "help"])
        .keyed()
        .prints();
    issued.trim_end().to_owned()
}

/// Returns the current Unix time in seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Signs any claims with [`SECRET`], also such that `token issue` refuses.
pub(crate) fn sign(claims: &Value) -> String {
    sign_text(&claims.to_string())
}

pub(crate) fn sign_text(claims: &str) -> String {
    let key = base16ct::lower::decode_vec(SECRET).unwrap();
    mac(r#"{"alg":"HS256","typ":"JWT"}"#, claims, &key)
}

/// Returns a token with this header and an HMAC-SHA-256 signature, whatever algorithm the header
/// names.
pub(crate) fn mac(header: &str, claims: &str, key: &[u8]) -> String {
    let header = Base64UrlUnpadded::encode_string(header.as_bytes());
    let signed = format!(
        "{header}.{}",
        Base64UrlUnpadded::encode_string(claims.as_bytes())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(signed.as_bytes());
    let signature = Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// Returns the decoded bytes of the claims.
pub(crate) fn payload(token: &str) -> Vec<u8> {
    part(token, 1)
}

pub(crate) fn claims(token: &str) -> Value {
    serde_json::from_slice(&payload(token)).unwrap()
}

pub(crate) fn header(token: &str) -> Value {
    serde_json::from_slice(&part(token, 0)).unwrap()
}

fn part(token: &str, index: usize) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(token.trim_end().split('.').nth(index).unwrap()).unwrap()
}
