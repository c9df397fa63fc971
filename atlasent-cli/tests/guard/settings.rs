//! Settings that cannot be used, and credentials that stay in the guard.

use std::fs;

use serde_json::json;

use super::support::{EVERYTHING, Piped, Stage, atlasent, counting_server, output, run};

#[test]
fn an_error_of_the_settings_names_the_file_the_line_and_the_key() {
    let stage = Stage::new(EVERYTHING);
    let file = stage.path("guard.toml");
    for (text, words) in [
        ("name = 7", &["line 1"][..]),
        ("name = \"a\"\nagnt = \"b\"", &["line 2", "agnt"]),
        (
            "name = \"a b\"\npolicies = \"p\"",
            &["guard.toml", "`name`", "`a b`"],
        ),
        ("policies = \"p\"", &["--name"]),
        ("name = \"a\"", &["--policies"]),
        (
            "name = \"a\"\npolicies = \"p\"\nurl = \"https://x\"",
            &["policies", "url"],
        ),
        ("name = \"a\"\npolicies = \"p\"\nwait = \"soon\"", &["wait"]),
        (
            "name = \"a\"\npolicies = \"p\"\n[server]\n",
            &["[server]", "command"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[server]\ncommand = [\"x\"]\nenv = { A = { file = \"f\", env = \"E\" } }",
            &["env.A"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[tools.t]\nrequire = { force = { scope = \"s\", action = \"a\" } }",
            &["[tools.t]", "require.force", "one of"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[tools.t]\nrequire = { force = {} }",
            &["require.force"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"a/b\"]\nrequire = { force = { scope = \"s\" } }",
            &["[methods.\"a/b\"]", "tools"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[limits]\nrequest = 7",
            &["line 4", "request"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[limits]\nrequests = -1",
            &["line 4"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[limits]\nsession_idle = \"soon\"",
            &["`[limits]`", "`session_idle`"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"resources/read\"]\nscope = \"docs read\"",
            &["[methods.\"resources/read\"]", "`scope`"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"resources/list\"]\nscope = \"docs:list\"",
            &["[methods.\"resources/list\"]", "lists need no permit"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"tools/call\"]\naction = \"files.call\"",
            &["[methods.\"tools/call\"]", "tools are mapped by name"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.initialize]\naction = \"files.open\"",
            &["[methods.\"initialize\"]", "lifecycle"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"notifications/acme\"]\nscope = \"acme\"",
            &["[methods.\"notifications/acme\"]", "no request"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"resources/ read\"]\nscope = \"docs:read\"",
            &["[methods.\"resources/ read\"]", "no request"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[methods.\"resources/read\"]\naction = \"\"",
            &["[methods.\"resources/read\"]", "action"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[tools.t]\naction = \"\"",
            &["[tools.t]", "action"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[tools.t]\nrequire = { force = { scope = \"a b\" } }",
            &["[tools.t]", "`require.force`", "`scope`"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[listen]\naddress = \"127.0.0.1:0\"\nscopes = [\"\"]",
            &["`listen.scopes`"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[listen]\naddress = \"127.0.0.1:0\"\norigins = [\"https://a.example/\"]",
            &["`listen.origins`", "`https://a.example/`"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[listen]\naddress = \"127.0.0.1:0\"\nauthorization_servers = [\"https://login.example\", \"not a url\"]",
            &["`listen.authorization_servers`", "entry 2"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[listen]\naddress = \"127.0.0.1:0\"\nauthorization_servers = [\"https://ann:hunter2@login.example\"]",
            &["`listen.authorization_servers`", "entry 1"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[server]\nurl = \"https://x\"\nbearer = \"hunter2\"",
            &["line 5"],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let data = stage.path("data");
        let arguments = ["guard", "--config", &file, "--data-dir", &data].map(str::to_owned);
        let (code, stdout, stderr) = run(atlasent(), &arguments);
        assert_eq!((code, &*stdout), (2, ""), "{text}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{text}: {stderr}");
        assert!(
            words.iter().all(|word| stderr.contains(word)),
            "{text}: {stderr}"
        );
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn approvals_beside_a_url_are_an_error_unless_the_url_replaces_their_policies() {
    const URL: &str = "http://127.0.0.1:9";
    let stage = Stage::new(EVERYTHING);
    let (file, data) = (stage.path("guard.toml"), stage.path("data"));
    let by_url = format!("url = {URL:?}");
    let held_here = "policies = \"p\"\napprovals = \"127.0.0.1:0\"";
    let both = format!("{by_url}\napprovals = \"127.0.0.1:0\"");
    for (text, command, options, is_usable) in [
        (
            held_here,
            &["guard", "accept"][..],
            &["--url", URL][..],
            true,
        ),
        (&*both, &["guard", "accept"], &[], false),
        (&*both, &["guard", "accept"], &["--url", URL], false),
        (&*by_url, &["guard"], &["--approvals", "127.0.0.1:0"], false),
    ] {
        fs::write(&file, format!("name = \"a\"\n{text}\n")).unwrap();
        let mut guard = std::process::Command::new(atlasent());
        guard
            .args(command)
            .args(["--config", &file, "--data-dir", &data]);
        let (code, stdout, stderr) = output(guard.args(options));
        match is_usable {
            true => assert_eq!((code, &*stdout), (0, "no tool changed\n"), "{stderr}"),
            false => {
                assert_eq!((code, &*stdout), (2, ""), "{text}: {stderr}");
                assert!(stderr.contains("approvals are given at"), "{stderr}");
            }
        }
    }
}

#[test]
fn path_rules_that_confine_nothing_are_an_error() {
    let stage = Stage::new(EVERYTHING);
    let file = stage.path("guard.toml");
    for (paths, word) in [
        ("root = \"/\"\narguments = []", "`arguments` is empty"),
        (
            "root = \"/nonexistent\"\narguments = [\"path\"]",
            "/nonexistent",
        ),
    ] {
        let policies = stage.path("policies");
        let text = format!(
            "name = \"fake\"\npolicies = {policies:?}\n[server]\ncommand = [\"true\"]\n[paths]\n{paths}\n"
        );
        fs::write(&file, text).unwrap();
        let data = stage.path("data");
        let arguments = ["guard", "--config", &file, "--data-dir", &data].map(str::to_owned);
        let (code, stdout, stderr) = run(atlasent(), &arguments);
        assert_eq!((code, &*stdout), (2, ""), "{stderr}");
        assert!(
            stderr.contains("[paths]") && stderr.contains(word),
            "{stderr}"
        );
    }
}

#[test]
fn a_password_in_the_url_of_the_server_is_refused_and_not_repeated() {
    const URL: &str = "https://hunter1:hunter2@mcp.example/mcp";
    let stage = Stage::new(EVERYTHING);
    let file = stage.path("guard.toml");
    fs::write(&file, format!("[server]\nurl = {URL:?}\n")).unwrap();
    for options in [["--config", &*file], ["--upstream", URL]] {
        let arguments = [stage.guard("fake"), options.map(str::to_owned).to_vec()].concat();
        let (code, stdout, stderr) = run(atlasent(), &arguments);
        assert_eq!((code, &*stdout), (2, ""), "{stderr}");
        assert!(stderr.contains("user or password"), "{stderr}");
        assert!(!stderr.contains("hunter"), "{stderr}");
    }
}

#[test]
fn a_server_that_cannot_be_started_is_named() {
    let stage = Stage::new(EVERYTHING);
    let command = ["--", "/nonexistent/server"].map(str::to_owned);
    let (code, _, stderr) = run(
        atlasent(),
        &[stage.guard("fake"), command.to_vec()].concat(),
    );
    assert_eq!(code, 2);
    assert!(stderr.contains("/nonexistent/server"), "{stderr}");
}

#[test]
fn a_secret_reaches_the_server_and_nothing_else() {
    let stage = Stage::new(EVERYTHING);
    let (log, secret) = (stage.path("log"), stage.path("secret"));
    fs::write(&secret, "hunter2\n").unwrap();
    let seen = stage.path("seen");
    let script = format!(
        "printf %s \"$TOKEN\" > {seen}; exec {}",
        counting_server(&log, "")[1..].join(" ")
    );
    let config = format!(
        "name = \"fake\"\npolicies = {:?}\n[server]\ncommand = [\"sh\", \"-c\", {script:?}]\nenv = {{ TOKEN = {{ file = {secret:?} }} }}\n",
        stage.path("policies"),
    );
    let file = stage.path("guard.toml");
    fs::write(&file, config).unwrap();
    let data = stage.path("data");
    let arguments = [
        "guard",
        "--config",
        &file,
        "--data-dir",
        &data,
        "--log-level",
        "debug",
    ]
    .map(str::to_owned);
    let mut guard = Piped::start(&arguments);
    guard.initialize();
    let answer = guard.call(1, "write", &json!({"path": "/a"}));
    assert!(!answer.to_string().contains("hunter2"));
    assert_eq!(fs::read_to_string(seen).unwrap(), "hunter2");
    drop(guard);
    let pins = fs::read_to_string(stage.path("data/pins/fake.json")).unwrap();
    assert!(!pins.contains("hunter2"));
}

/// Returns the variables of an environment that `env` printed into a file.
fn environment(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let variables = text.lines().filter_map(|line| line.split_once('='));
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_guarded_server_inherits_no_key_of_the_guard() {
    let keys = [
        ("ATLASENT_API_KEY", "hunter1"),
        ("ATI_JWT_SECRET", "hunter2"),
        ("ATI_JWT_PRIVATE_KEY", "hunter3"),
        ("GUARD_TEST_SOURCE", "hunter4"),
        ("GUARD_TEST_BEARER", "hunter5"),
    ];
    let stage = Stage::new(EVERYTHING);
    let (seen, printed) = (stage.path("seen"), stage.path("printed"));
    let server = counting_server(&stage.path("log"), "")[1..].join(" ");
    let script = format!("env > {seen}; exec {server}");
    let prints = format!("env > {printed}; echo printed-secret");
    let policies = stage.path("policies");
    let file = stage.path("guard.toml");
    let command = format!(
        "command = [\"sh\", \"-c\", {script:?}]\n[server.env]\nTOKEN = {{ env = \"GUARD_TEST_SOURCE\" }}\n\
         OTHER = {{ command = [\"sh\", \"-c\", {prints:?}] }}\n"
    );
    let url =
        "url = \"https://mcp.example\"\nbearer = { env = \"GUARD_TEST_BEARER\" }\n".to_owned();
    let line = ["--", "sh", "-c", &script].map(str::to_owned);
    // The command of the file, and one that replaces the server of the file.
    for (table, line) in [(command, &[][..]), (url, &line[..])] {
        let text = format!("name = \"fake\"\npolicies = {policies:?}\n[server]\n{table}");
        fs::write(&file, text).unwrap();
        let data = stage.path("data");
        let options = ["guard", "--config", &file, "--data-dir", &data].map(str::to_owned);
        let mut command = std::process::Command::new(atlasent());
        command.args(options).args(line).envs(keys);
        command.env("GUARD_TEST_OTHER", "inherited");
        let mut guard = Piped::run(&mut command);
        guard.initialize();
        drop(guard);
        let inherited = environment(&seen);
        let value = |name: &str| {
            let found = inherited.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| &**value)
        };
        let is_of_file = line.is_empty();
        for (name, _) in keys {
            // A source that the settings do not name is a variable like any other.
            let is_named = match name {
                "GUARD_TEST_SOURCE" => is_of_file,
                "GUARD_TEST_BEARER" => !is_of_file,
                _ => true,
            };
            assert_eq!(value(name).is_none(), is_named, "{name}");
        }
        assert_eq!(value("GUARD_TEST_OTHER"), Some("inherited"));
        assert_eq!(value("TOKEN"), is_of_file.then_some("hunter4"));
        assert_eq!(value("OTHER"), is_of_file.then_some("printed-secret"));
    }
    let names = environment(&printed);
    let is_own = |name: &str| name.starts_with("ATLASENT_") || name.starts_with("ATI_");
    assert!(names.iter().all(|(name, _)| !is_own(name)), "{names:?}");
}

#[test]
fn a_server_that_is_asked_for_its_tools_inherits_no_key() {
    let stage = Stage::new(EVERYTHING);
    let (seen, out) = (stage.path("seen"), stage.path("starter"));
    let server = counting_server(&stage.path("log"), "")[1..].join(" ");
    let server = format!("sh -c 'env > {seen}; exec {server}'");
    let mut command = std::process::Command::new(atlasent());
    command
        .args(["policy", "init", "--name", "fake", "--mcp", &server, &out])
        .env("ATLASENT_API_KEY", "hunter1")
        .env("ATI_JWT_SECRET", "hunter2");
    let (code, _, stderr) = output(&mut command);
    assert_eq!(code, 0, "{stderr}");
    let names = environment(&seen);
    assert!(names.iter().any(|(name, _)| name == "PATH"), "{names:?}");
    assert!(
        names.iter().all(|(_, value)| !value.contains("hunter")),
        "{names:?}"
    );
}

#[test]
fn a_field_that_the_file_protects_is_hidden_and_refused_when_it_is_sent() {
    for (required, policies, is_met) in [
        (
            "{ scope = \"tool:fake:write:force\" }",
            EVERYTHING,
            // An agent without a token has no scopes.
            false,
        ),
        (
            "{ action = \"files.force\" }",
            "permit (principal, action == Action::\"mcp.fake.write\", resource);",
            false,
        ),
        ("{ action = \"files.force\" }", EVERYTHING, true),
    ] {
        let stage = Stage::new(policies);
        let log = stage.path("log");
        let file = stage.path("guard.toml");
        let config = format!(
            "name = \"fake\"\npolicies = {:?}\n[tools.write]\nrequire = {{ force = {required} }}\n",
            stage.path("policies"),
        );
        fs::write(&file, config).unwrap();
        let data = stage.path("data");
        let arguments = ["guard", "--config", &file, "--data-dir", &data].map(str::to_owned);
        let mut guard =
            Piped::start(&[arguments.to_vec(), counting_server(&log, "forces")].concat());
        guard.initialize();
        let runs = || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            log.lines().filter(|line| line.starts_with("RAN ")).count()
        };
        let list = guard.request(1, "tools/list", &json!({}));
        let tools = list["result"]["tools"].as_array().unwrap();
        let write = tools.iter().find(|tool| tool["name"] == "write").unwrap();
        let properties = write["inputSchema"]["properties"].as_object().unwrap();
        assert_eq!(
            properties.contains_key("force"),
            is_met,
            "{required}: {write}"
        );
        assert!(!write.to_string().contains("x-atlasent"), "{write}");
        for (id, force) in [(2, true), (3, false)] {
            let answer = guard.call(id, "write", &json!({"path": "/a", "force": force}));
            match is_met {
                true => assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}"),
                false => assert_eq!(
                    answer["result"]["structuredContent"]["code"], "ARGUMENT_NOT_ALLOWED",
                    "{answer}"
                ),
            }
        }
        assert_eq!(runs(), if is_met { 2 } else { 0 });
        let answer = guard.call(4, "write", &json!({"path": "/a"}));
        assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    }
}

#[test]
fn the_file_sets_limits_and_an_invalid_limit_starts_no_server() {
    let stage = Stage::new(EVERYTHING);
    let file = stage.path("guard.toml");
    // This server never answers calls.
    let arguments = [
        stage.guard("fake"),
        ["--config", &file].map(str::to_owned).to_vec(),
        counting_server(&stage.path("log"), "silent"),
    ]
    .concat();
    for (limits, why) in [
        ("requests = 0", "`requests` has to be from 1 to 65536"),
        ("session_idle = \"59s\"", "`session_idle`"),
        ("sessions = 2\nsessions_per_agent = 3", "at most `sessions`"),
    ] {
        fs::write(&file, format!("[limits]\n{limits}\n")).unwrap();
        let (code, stdout, stderr) = run(atlasent(), &arguments);
        assert_eq!((code, &*stdout), (2, ""), "{limits}: {stderr}");
        assert!(
            stderr.contains("`[limits]`") && stderr.contains(why),
            "{stderr}"
        );
        assert!(!std::path::Path::new(&stage.path("log")).exists());
    }
    fs::write(&file, "[limits]\nrequests = 1\n").unwrap();
    let mut guard = Piped::start(&arguments);
    guard.initialize();
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    guard.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}));
    let refused = guard.request(2, "ping", &json!({}));
    assert_eq!(refused["id"], 2, "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("too many requests"), "{refused}");
}
