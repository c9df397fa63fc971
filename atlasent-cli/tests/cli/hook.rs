//! `atlasent hook`: each tool call of an agent gets a permit, or is blocked.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, Ended, atlasent, directory};

const POLICIES: &str = r#"
permit (principal, action == Action::"tool.Bash", resource) when { context.command like "git *" };
permit (principal == Agent::"codex", action == Action::"tool.Bash", resource);
permit (principal, action in [Action::"tool.Shell", Action::"tool.run_shell_command"], resource);
permit (principal, action == Action::"mcp.files.write_file", resource == Resource::"/srv/a.txt");
@decision("hold") @reason("a person agrees to a push")
forbid (principal, action == Action::"tool.Bash", resource) when { context.command like "git push*" };
"#;

const KEY: &str = "ask_live_0123456789abcdef";

/// A folder with policies, and room for the data of hooks.
pub(crate) fn stage() -> TempDir {
    stage_with(POLICIES)
}

fn stage_with(policies: &str) -> TempDir {
    let stage = directory(&[]);
    std::fs::create_dir(stage.path().join("policies")).unwrap();
    std::fs::write(stage.path().join("policies/p.cedar"), policies).unwrap();
    stage
}

/// The path of a folder of the stage.
pub(crate) fn path(stage: &TempDir, name: &str) -> String {
    stage.path().join(name).to_str().unwrap().to_owned()
}

/// The hook with the policies of the stage.
pub(crate) fn hook(stage: &TempDir, options: &[&str], input: &str) -> Atlasent {
    let (policies, data) = (path(stage, "policies"), path(stage, "data"));
    let arguments = ["hook", "--policies", &policies, "--data-dir", &data];
    atlasent(arguments.iter().chain(options)).stdin(input)
}

fn bash(command: &str) -> String {
    json!({
        "session_id": "s", "cwd": "/w", "permission_mode": "default", "hook_event_name": "PreToolUse",
        "tool_name": "Bash", "tool_input": {"command": command},
    })
    .to_string()
}

/// Asserts that the tool is blocked in every way that an agent may read, and returns the reason.
fn blocked(ended: &Ended) -> String {
    assert_eq!(ended.code, 2, "{ended:?}");
    let reason = ended.stderr.lines().last().expect("a reason");
    let reason = reason.strip_prefix("blocked: ").expect("the label");
    assert!(!reason.is_empty());
    if !ended.stdout.is_empty() {
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        let said = answer["hookSpecificOutput"]["permissionDecision"].as_str();
        let said = said
            .or(answer["permission"].as_str())
            .or(answer["decision"].as_str());
        assert_eq!(said, Some("deny"), "{answer}");
    }
    reason.to_owned()
}

/// The events of a type on the trail.
pub(crate) fn events(stage: &TempDir, kind: &str) -> Vec<Value> {
    let (data, trail) = (path(stage, "data"), path(stage, "trail.json"));
    let _ = std::fs::remove_file(&trail);
    let exported = atlasent(["audit", "export", "--data-dir", &data, "--out", &trail]).run();
    assert_eq!(exported.code, 0, "{exported:?}");
    let trail: Value = serde_json::from_str(&std::fs::read_to_string(trail).unwrap()).unwrap();
    let events = trail["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == kind)
        .cloned()
        .collect()
}

/// The number of permits that were used, by the audit trail.
fn permits(stage: &TempDir) -> usize {
    events(stage, "permit.verified").len()
}

#[test]
fn each_agent_gets_an_allow_in_its_own_words_and_a_used_permit() {
    let stage = stage();
    let codex = json!({
        "turn_id": "t", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"},
    });
    let cursor = json!({"hook_event_name": "beforeShellExecution", "command": "ls", "cwd": "/w"});
    let gemini = json!({
        "hook_event_name": "BeforeTool", "tool_name": "run_shell_command", "tool_input": {"command": "ls"},
    });
    let claude = json!({"hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": "allow",
        "permissionDecisionReason": "permitted by the policies",
    }});
    for (done, (format, input, answer)) in [
        ("claude", bash("git status"), Some(claude)),
        ("codex", codex.to_string(), None),
        (
            "cursor",
            cursor.to_string(),
            Some(json!({"permission": "allow"})),
        ),
        (
            "gemini",
            gemini.to_string(),
            Some(json!({"decision": "allow"})),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        for options in [&[][..], &["--format", format]] {
            let printed = hook(&stage, options, &input).prints();
            let printed: Option<Value> = serde_json::from_str(&printed).ok();
            assert_eq!(printed, answer, "{format}");
        }
        assert_eq!(permits(&stage), 2 * (done + 1));
    }
}

#[test]
fn a_call_that_the_policies_do_not_allow_is_blocked_with_the_reason() {
    let stage = stage();
    let reason = blocked(&hook(&stage, &[], &bash("rm -rf /")).run());
    assert!(reason.contains("denied"), "{reason}");
    let reason = blocked(&hook(&stage, &[], &bash("git push")).run());
    assert!(reason.contains("a person agrees to a push"), "{reason}");
    // The agent of the policy is another one.
    blocked(&hook(&stage, &["--agent", "someone"], &bash("ls")).run());
    hook(&stage, &["--agent", "codex"], &bash("ls")).prints();
    assert_eq!(permits(&stage), 1);
}

#[test]
fn the_resource_of_an_mcp_tool_is_a_named_argument() {
    let stage = stage();
    let write = |path: Value| {
        json!({
            "hook_event_name": "PreToolUse", "tool_name": "mcp__files__write_file", "tool_input": {"path": path},
        })
        .to_string()
    };
    let named = ["--resource", "mcp__files__write_file=path"];
    hook(&stage, &named, &write(json!("/srv/a.txt"))).prints();
    blocked(&hook(&stage, &named, &write(json!("/srv/b.txt"))).run());
    blocked(&hook(&stage, &named, &write(json!(7))).run());
    blocked(&hook(&stage, &[], &write(json!("/srv/a.txt"))).run());
    // Cursor does not tell the name of the server.
    let cursor = json!({
        "hook_event_name": "beforeMCPExecution", "tool_name": "write_file", "command": "npx files",
        "tool_input": r#"{"path":"/srv/a.txt"}"#,
    })
    .to_string();
    blocked(&hook(&stage, &["--resource", "write_file=path"], &cursor).run());
    let named = [
        "--resource",
        "write_file=path",
        "--server",
        "files=npx files",
    ];
    hook(&stage, &named, &cursor).prints();
    assert_eq!(permits(&stage), 2);
}

#[test]
fn an_allow_leaves_the_agents_own_questions_in_place_if_that_is_wanted() {
    let stage = stage();
    let printed = hook(&stage, &["--keep-prompts"], &bash("git status")).prints();
    assert_eq!(printed, "{}\n");
    blocked(&hook(&stage, &["--keep-prompts"], &bash("rm")).run());
}

#[test]
fn an_input_that_cannot_be_read_is_blocked() {
    let stage = stage();
    let large = format!(r#"{{"hook_event_name":"{}"}}"#, "x".repeat(17 << 20));
    let inputs: [&[u8]; 7] = [
        b"",
        b"\xff",
        b"null",
        b"{}",
        br#"{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{}}"#,
        br#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"git a","command":"git b"}}"#,
        large.as_bytes(),
    ];
    for input in inputs {
        for options in [&[][..], &["--format", "claude"], &["--format", "gemini"]] {
            let ended = hook(&stage, options, "").stdin(input).run();
            blocked(&ended);
            // Where the agent is known, it reads the deny in its own words.
            assert!(options.is_empty() || !ended.stdout.is_empty(), "{ended:?}");
        }
    }
}

#[test]
fn settings_that_cannot_decide_are_blocked() {
    let stage = stage();
    let data = path(&stage, "other");
    let input = bash("git status");
    for arguments in [
        &["hook"][..],
        &["hook", "--policies", "/no/such/folder", "--data-dir", &data],
        &["hook", "--url", "http://decides.example"],
        &["hook", "--url", "no url"],
    ] {
        blocked(
            &atlasent(arguments)
                .env("ATLASENT_API_KEY", KEY)
                .stdin(input.clone())
                .run(),
        );
    }
    // Without a key.
    blocked(
        &atlasent(["hook", "--url", "http://127.0.0.1:1"])
            .stdin(input.clone())
            .run(),
    );
    let broken = stage_with("permit (");
    blocked(&hook(&broken, &[], &input).run());
    // A store that is not one.
    std::fs::create_dir(path(&stage, "data")).unwrap();
    std::fs::write(path(&stage, "data/authority.redb"), "x").unwrap();
    blocked(&hook(&stage, &[], &input).run());
    // What is no option at all has the same exit code.
    assert_eq!(hook(&stage, &["--allow"], &input).run().code, 2);
}

#[test]
fn no_fault_of_a_server_lets_a_tool_run() {
    let allow = |token: &str| {
        Reply::json(
            200,
            json!({"decision": "allow", "permit_token": token, "evaluation_id": "e"}),
        )
    };
    let valid = Reply::json(200, json!({"valid": true, "outcome": "allow"}));
    let faults = [
        Reply::status(500),
        Reply::status(401),
        Reply::json(200, "{}"),
        Reply::json(200, "nonsense"),
        Reply::json(200, json!({"decision": "deny", "deny_reason": "no"})),
        valid.clone().fault(Fault::Reset, At::Start),
        valid.clone().fault(Fault::Close, At::InBody),
        valid.fault(Fault::Stall, At::InHead),
    ];
    for fault in faults {
        for at_verification in [false, true] {
            let fault = fault.clone();
            let server = Server::start(move |request: &Request| match request.path() {
                "/v1-evaluate" if at_verification => allow("permit_0123456789abcdef"),
                _ => fault.clone(),
            });
            let arguments = ["hook", "--url", server.url(), "--timeout", "2s"];
            let ended = atlasent(arguments)
                .env("ATLASENT_API_KEY", KEY)
                .stdin(bash("git status"))
                .run();
            let reason = blocked(&ended);
            assert!(
                !ended.stderr.contains(KEY) && !reason.contains("permit_"),
                "{ended:?}"
            );
            let asked = server
                .requests()
                .iter()
                .any(|request| request.path() == "/v1-evaluate");
            assert!(asked, "the server was asked");
        }
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{nobody}");
    let unreachable = atlasent(["hook", "--timeout", "2s"])
        .env("ATLASENT_API_KEY", KEY)
        .env("ATLASENT_BASE_URL", url)
        .stdin(bash("git status"))
        .run();
    blocked(&unreachable);
}

#[test]
fn a_call_that_the_server_never_accepts_is_not_to_be_sent_again() {
    let words = "words of the server";
    let cursor = json!({"hook_event_name": "beforeShellExecution", "command": "ls", "cwd": "/w"});
    for (status, advice) in [
        (413, "Correct the call and send it again."),
        (422, "Correct the call and send it again."),
        (401, "Do not send the same call again."),
        (403, "Do not send the same call again."),
    ] {
        let server =
            Server::start(move |_: &Request| Reply::json(status, json!({"message": words})));
        for (input, user_reads) in [(bash("git status"), false), (cursor.to_string(), true)] {
            let ended = atlasent(["hook", "--url", server.url(), "--timeout", "10s"])
                .env("ATLASENT_API_KEY", KEY)
                .stdin(input)
                .run();
            let reason = blocked(&ended);
            assert!(reason.ends_with(advice), "{status} {reason}");
            // Models read all of standard error, and all of the answer but one text of Cursor's.
            assert_eq!(ended.stderr, format!("blocked: {reason}\n"), "{status}");
            assert!(!reason.contains(words), "{status} {reason}");
            let mut answer: Value = serde_json::from_str(&ended.stdout).unwrap();
            let shown_to_user = answer.as_object_mut().unwrap().remove("user_message");
            assert!(!answer.to_string().contains(words), "{status} {answer}");
            let shown_to_user = shown_to_user.unwrap_or_default().to_string();
            assert_eq!(shown_to_user.contains(words), user_reads, "{shown_to_user}");
        }
    }
}

#[test]
fn an_agent_that_does_not_close_the_input_is_answered_in_time() {
    let stage = stage();
    let mut command = hook(&stage, &["--timeout", "1s", "--format", "cursor"], "").into_command();
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"hook_event_name\":").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(output.status.code(), Some(2));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["permission"], "deny");
}

#[test]
fn hooks_of_tools_that_run_side_by_side_wait_for_each_other() {
    let stage = stage();
    std::thread::scope(|scope| {
        let hooks: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| hook(&stage, &[], &bash("git status")).prints()))
            .collect();
        for hook in hooks {
            hook.join().unwrap();
        }
    });
    assert_eq!(permits(&stage), 6);
}

#[test]
fn an_answer_that_nobody_reads_still_blocks() {
    let stage = stage();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = hook(&stage, &["--format", "claude"], "").into_command();
    let output = command
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_policies_of_the_guide_decide_as_it_says() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/hooks.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let policies = guide.split("```cedar\n").nth(1).unwrap();
    let stage = stage_with(policies.split("```").next().unwrap());
    let write = |path: &str| {
        let input = json!({"file_path": path, "content": "x"});
        json!({"hook_event_name": "PreToolUse", "tool_name": "Write", "tool_input": input})
            .to_string()
    };
    for allowed in [bash("git status"), write("/home/ann/project/a.rs")] {
        hook(&stage, &[], &allowed).prints();
    }
    for refused in [
        bash("git status; rm -rf ~"),
        bash("git push"),
        write("/home/ann/.claude/settings.json"),
        write("/home/ann/project/../.claude/settings.json"),
    ] {
        blocked(&hook(&stage, &[], &refused).run());
    }
}
