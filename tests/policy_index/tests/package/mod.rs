//! Packages with a build script, outside of the workspace, for tests that run cargo.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The directory of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The manifest of the workspace.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

/// A package with a build script that reads the folder `policies`.
pub(crate) struct Package<'a>(&'a Path);

impl<'a> Package<'a> {
    /// Writes the package without its code and its policies.
    pub(crate) fn new(folder: &'a Path, name: &str, dependencies: &str) -> Self {
        let package = Self(folder);
        let root = Path::new(HERE).join("../..").display().to_string();
        let (_, profile) = WORKSPACE.split_once("[profile.dev]").unwrap();
        let (profile, _) = profile.split_once("[profile.bench]").unwrap();
        package.write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
                 atlasent = {{ path = \"{root}/atlasent\", default-features = false }}\n{dependencies}\
                 [build-dependencies]\natlasent-build = {{ path = \"{root}/atlasent-build\" }}\n\
                 # Cedar, as the workspace compiled it.\n\
                 atlasent-tests-features = {{ path = \"{root}/tests/features\" }}\n\
                 [profile.dev]{profile}"
            ),
        );
        // The versions of the workspace, which are on this machine.
        fs::copy(
            Path::new(&root).join("Cargo.lock"),
            folder.join("Cargo.lock"),
        )
        .unwrap();
        package.write(
            "build.rs",
            "fn main() { atlasent_build::policies(\"policies\"); }",
        );
        package
    }

    /// Writes a file of the package.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs `cargo check`.
    pub(crate) fn check(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO"))
            .args(["check", "--offline", "--color", "never"])
            .args(arguments)
            .current_dir(self.0)
            // That of the workspace, so that both share the dependencies that they build.
            .env(
                "CARGO_TARGET_DIR",
                Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap(),
            )
            .env_remove("ATLASENT_POLICY_INDEX")
            .output()
            .unwrap()
    }
}
