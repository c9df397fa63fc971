//! Policies for the tools of a server over HTTP, or of the server of a settings file.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::http::{listening, token};
use super::support::{EVERYTHING, Stage, atlasent, counting_server, output};

const URL: &str = "https://guard.example/mcp";

/// Runs `policy init` with options. The bearer token of the settings file is in the environment.
fn init(options: &[&str], token: &str) -> (i32, String, String) {
    let mut command = Command::new(atlasent());
    command.args(["policy", "init"]).args(options);
    output(command.env("INIT_TEST_BEARER", token))
}

/// Returns the text of each file of a folder.
fn texts(folder: &str) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn a_server_over_http_gets_its_credentials_from_the_settings_file_and_no_other_server_does() {
    let stage = Stage::new(EVERYTHING);
    // The server asks for a token.
    let server = listening(&stage, URL);
    let token = token(URL);
    let (file, out) = (stage.path("init.toml"), stage.path("out"));
    let settings = format!(
        "name = \"fake\"\n[server]\nurl = {:?}\nbearer = {{ env = \"INIT_TEST_BEARER\" }}\n",
        server.url
    );
    fs::write(&file, settings).unwrap();
    for options in [
        &[&*out, "--name", "fake", "--mcp", &server.url][..],
        // The secrets of the file are for the server of the file.
        &[&*out, "--config", &file, "--mcp", &server.url],
    ] {
        let (code, _, stderr) = init(options, &token);
        assert_eq!(code, 2, "{stderr}");
        assert!(
            stderr.contains("`fake`") && stderr.contains("HTTP 401"),
            "{stderr}"
        );
        assert!(!Path::new(&out).exists());
    }
    let (code, stdout, stderr) = init(&[&*out, "--config", &file], &token);
    assert_eq!(code, 0, "{stderr}");
    let written = texts(&out).concat();
    assert!(written.contains("mcp.fake.write") && written.contains("mcp.fake.read"));
    assert!(!format!("{written}{stdout}{stderr}").contains(&token));
    let next = format!("  atlasent guard --config {file} --policies {out}\n");
    assert!(stdout.ends_with(&next), "{stdout}");
    let log = fs::read_to_string(stage.path("log")).unwrap();
    assert!(!log.contains("RAN "), "{log}");

    // A token that the server does not accept.
    let (code, _, stderr) = init(&[&*stage.path("other"), "--config", &file], "forged");
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("HTTP 401") && !stderr.contains("forged"),
        "{stderr}"
    );
}

#[test]
fn a_command_of_the_settings_file_is_asked_for_its_tools() {
    let stage = Stage::new(EVERYTHING);
    let (file, out) = (stage.path("init.toml"), stage.path("out"));
    let words = &counting_server(&stage.path("log"), "")[1..];
    let settings = format!("name = \"fake\"\n[server]\ncommand = {words:?}\n");
    fs::write(&file, settings).unwrap();
    // An option replaces the name of the file.
    let (code, stdout, stderr) = init(&[&*out, "--config", &file, "--name", "other"], "");
    assert_eq!(code, 0, "{stderr}");
    let next = format!("  atlasent guard --config {file} --name other --policies {out}\n");
    assert!(stdout.ends_with(&next), "{stdout}");
    let written = texts(&out).concat();
    assert!(written.contains("mcp.other.write"), "{written}");
    assert!(!written.contains("mcp.fake"), "{written}");
}

#[test]
fn options_that_name_no_server_write_nothing() {
    let stage = Stage::new(EVERYTHING);
    let (empty, out) = (stage.path("init.toml"), stage.path("out"));
    fs::write(&empty, "name = \"fake\"\n").unwrap();
    for (options, why) in [
        (&["--name", "fake"][..], "`--mcp` or `--config`"),
        (&["--config", &empty], "there is no server"),
        (&["--mcp", "https://mcp.example/mcp"], "`--name`"),
        (
            &["--name", "fake", "--mcp", "http://mcp.example/mcp"],
            "`https`, or `http` to this machine",
        ),
        (
            &["--name", "a b", "--mcp", "https://mcp.example/mcp"],
            "`a b`",
        ),
        (&["--config", "/nonexistent/guard.toml"], "--config"),
    ] {
        let options = [&[&*out][..], options].concat();
        let (code, stdout, stderr) = init(&options, "");
        assert_eq!((code, &*stdout), (2, ""), "{options:?}: {stderr}");
        assert!(stderr.contains(why), "{options:?}: {stderr}");
        assert!(!Path::new(&out).exists(), "{options:?}");
    }
}
