//! What the tests of the built services share.

use std::io::BufReader;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A service in a process of its own, which ends with the test.
pub(crate) struct Running {
    process: Child,
    /// What it prints. Open for as long as it may.
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn http() -> reqwest::Client {
    // Whichever test is first sets it for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
