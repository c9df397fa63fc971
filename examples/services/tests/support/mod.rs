//! Starts the built services, for their tests.

use std::io::BufReader;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A service in its own process, which ends with the test.
pub(crate) struct Running {
    process: Child,
    /// The service's output. It stays open, so that the service can go on printing.
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
    // The first test installs the provider for all tests.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
