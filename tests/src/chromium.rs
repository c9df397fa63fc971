//! A chromedriver for tests. It starts once, and stops with the process that started it, with all
//! browsers that it has, also after a crash.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what tests call may panic as tests do"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The names of Chromium's program, in packages of several systems.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// How long a loaded machine may take to start the driver.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running chromedriver, and the browser that it drives.
#[derive(Debug)]
pub struct Chromium {
    port: u16,
    browser: PathBuf,
    folder: PathBuf,
    /// Stops the driver when the pipe to it closes, also at the end of this process.
    guard: Child,
}

impl Chromium {
    /// Returns the driver that all tests of this process share, or `None` if Chromium or
    /// chromedriver is not installed.
    ///
    /// # Panics
    ///
    /// Panics if the driver does not start, or if it is not installed and
    /// `ATLASENT_REQUIRE_CHROMIUM` is 1.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Chromium>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let driver = find("chromedriver");
        let browser = BROWSERS.into_iter().find_map(find);
        let (Some(driver), Some(browser)) = (driver, browser) else {
            skipped(
                "no Chromium or no chromedriver found (install the packages `chromium` and `chromium-driver`)",
            );
            return None;
        };
        let folder = TempDir::with_prefix_in("chromium", "/tmp").expect("a temporary folder");
        // From here on, dropping the guard removes the folder.
        let folder = folder.keep();
        let guard = guard(&driver, &folder);
        let mut chromium = Self {
            port: 0,
            browser,
            folder,
            guard,
        };
        chromium.port = chromium.wait_for_port();
        Some(chromium)
    }

    /// Returns the URL of the driver.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the path of the browser.
    #[must_use]
    pub fn browser(&self) -> &Path {
        &self.browser
    }

    /// Returns the arguments of a browser without a window. As root, it has no sandbox.
    #[must_use]
    pub fn arguments(&self) -> Vec<&'static str> {
        let mut arguments = vec![
            "--headless=new",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
        ];
        let is_root = fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        if is_root {
            arguments.push("--no-sandbox");
        }
        arguments
    }

    /// Waits until the driver has written its port.
    fn wait_for_port(&self) -> u16 {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let port = log.split("successfully on port ").nth(1);
            let port = port.and_then(|rest| rest.split('.').next()?.parse().ok());
            if let Some(port) = port {
                return port;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("chromedriver does not start");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Starts the driver, in a group of its own with its browsers, and what stops the group when the
/// pipe closes.
fn guard(driver: &Path, folder: &Path) -> Child {
    let script = "trap '' HUP INT TERM; setsid \"$1\" --port=0 >\"$2/log\" 2>&1 </dev/null & \
         driver=$!; cat; kill -KILL -- \"-$driver\"; rm -rf \"$2\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "guard"])
        .arg(driver)
        .arg(folder);
    // The profiles of the browsers.
    command.env("TMPDIR", folder).current_dir("/tmp");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// Says why tests are skipped, or panics if they must not be.
fn skipped(why: &str) {
    let required = std::env::var_os("ATLASENT_REQUIRE_CHROMIUM").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    // Written directly, because the test harness shows the output of failures only.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Finds a program in the search path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
    files.find(|file| file.exists())
}
