use atlasent::error::Code;
use atlasent::testing::{Call, MockAuthority, Reply};
use atlasent::wire::Verification;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FORMATS: [HookFormat; 4] = [
    HookFormat::ClaudeCode,
    HookFormat::Codex,
    HookFormat::Cursor,
    HookFormat::GeminiCli,
];

/// An input of an agent, and what it asks for.
struct Case {
    format: HookFormat,
    input: Value,
    action: &'static str,
    resource: Option<&'static str>,
    context: Value,
}

fn case(
    format: HookFormat,
    input: Value,
    action: &'static str,
    resource: Option<&'static str>,
    context: Value,
) -> Case {
    Case {
        format,
        input,
        action,
        resource,
        context,
    }
}

/// Inputs as the agents send them.
fn cases() -> Vec<Case> {
    let path = json!({"path": "/a"});
    vec![
        case(
            HookFormat::ClaudeCode,
            json!({
                "session_id": "s", "transcript_path": "/t", "cwd": "/w", "permission_mode": "default",
                "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "toolu_1",
                "tool_input": {"command": "ls", "description": "Lists"},
            }),
            "tool.Bash",
            Some("ls"),
            json!({"command": "ls", "description": "Lists"}),
        ),
        case(
            HookFormat::ClaudeCode,
            json!({
                "session_id": "s", "cwd": "/w", "hook_event_name": "PreToolUse",
                "tool_name": "mcp__files__write__file", "tool_input": path,
            }),
            "mcp.files.write__file",
            None,
            path.clone(),
        ),
        case(
            HookFormat::Codex,
            json!({
                "session_id": "s", "turn_id": "t", "transcript_path": null, "cwd": "/w", "model": "m",
                "hook_event_name": "PreToolUse", "permission_mode": "default", "tool_name": "Bash",
                "tool_use_id": "call_1", "tool_input": {"command": "ls"},
            }),
            "tool.Bash",
            Some("ls"),
            json!({"command": "ls"}),
        ),
        case(
            HookFormat::Cursor,
            json!({
                "conversation_id": "c", "generation_id": "g", "workspace_roots": ["/w"],
                "cursor_version": "3.0.0", "hook_event_name": "beforeShellExecution",
                "command": "git status", "cwd": "/w",
            }),
            "tool.Shell",
            None,
            json!({"command": "git status", "cwd": "/w"}),
        ),
        case(
            HookFormat::Cursor,
            json!({
                "conversation_id": "c", "hook_event_name": "beforeMCPExecution", "tool_name": "read",
                "tool_input": r#"{"path": "/a"}"#, "command": "npx files",
            }),
            "mcp.files.read",
            Some("/a"),
            path.clone(),
        ),
        case(
            HookFormat::Cursor,
            json!({
                "hook_event_name": "beforeMCPExecution", "tool_name": "search", "tool_input": "{}",
                "url": "https://mcp.example/mcp",
            }),
            "mcp.search.search",
            None,
            json!({}),
        ),
        case(
            HookFormat::Cursor,
            json!({
                "hook_event_name": "beforeReadFile", "file_path": "/w/.env", "content": "KEY=hunter2",
            }),
            "tool.Read",
            None,
            json!({"file_path": "/w/.env"}),
        ),
        case(
            HookFormat::Cursor,
            json!({
                "hook_event_name": "preToolUse", "tool_name": "Write", "tool_use_id": "t",
                "tool_input": path,
            }),
            "tool.Write",
            None,
            path.clone(),
        ),
        case(
            HookFormat::GeminiCli,
            json!({
                "session_id": "s", "transcript_path": "/t", "cwd": "/w", "timestamp": "2026-01-01T00:00:00Z",
                "hook_event_name": "BeforeTool", "tool_name": "run_shell_command",
                "tool_input": {"command": "ls"},
            }),
            "tool.run_shell_command",
            None,
            json!({"command": "ls"}),
        ),
        case(
            HookFormat::GeminiCli,
            json!({
                "hook_event_name": "BeforeTool", "tool_name": "mcp_files_read", "tool_input": path,
                "mcp_context": {"server_name": "files", "tool_name": "read", "command": "npx"},
            }),
            "mcp.files.read",
            None,
            path,
        ),
    ]
}

fn hook(authority: &Arc<MockAuthority>) -> Hook {
    Hook::builder(Arc::clone(authority) as _)
        .resource("Bash", "command")
        .resource("read", "path")
        .server("files", "npx files")
        .server("search", "https://mcp.example/mcp")
        .build()
}

/// Asks as the command does. Returns the answer, and the authority.
fn ask(
    authority: MockAuthority,
    format: HookFormat,
    input: &str,
) -> (
    Result<Permit<AuthorizedOperation>, Refusal>,
    Arc<MockAuthority>,
) {
    let authority = Arc::new(authority);
    let caller = Caller::configured(format.agent()).unwrap();
    let permit = HookCall::parse(format, input)
        .and_then(|call| futures_executor::block_on(hook(&authority).permit(&call, &caller)));
    (permit, authority)
}

#[test]
fn each_input_is_asked_about_as_its_action_with_what_the_tool_gets() {
    for case in cases() {
        let input = case.input.to_string();
        assert_eq!(HookFormat::detect(&input), Some(case.format), "{input}");
        let (permit, authority) = ask(MockAuthority::new().allow(case.action), case.format, &input);
        let permit = permit.unwrap();
        assert_eq!(permit.agent().as_str(), case.format.agent());
        let calls = authority.calls();
        let [Call::Evaluate(request), Call::Verify(_)] = &calls[..] else {
            panic!("{input}: {calls:?}");
        };
        assert_eq!(request.action_type, case.action, "{input}");
        assert_eq!(request.resource_id.as_deref(), case.resource, "{input}");
        assert_eq!(
            serde_json::to_value(&request.context).unwrap(),
            case.context
        );
        // The tool runs elsewhere, so nothing is known about its end.
        drop(permit);
        assert!(authority.receipts().is_empty());
    }
}

#[test]
fn a_call_that_is_not_allowed_gets_no_permit() {
    for case in cases() {
        let action = case.action;
        let refused = || Verification::refuse(None, "no");
        for authority in [
            MockAuthority::new(),
            MockAuthority::new().deny(action, "no"),
            MockAuthority::new().hold(action, "ask a person"),
            MockAuthority::new().escalate(action, "ask a person"),
            MockAuthority::new().allow("tool.Other"),
            MockAuthority::new().on_evaluate(action, Reply::Fail(Code::Network)),
            MockAuthority::new()
                .allow(action)
                .on_verify(action, Reply::Fail(Code::Timeout)),
            MockAuthority::new()
                .allow(action)
                .on_verify(action, Reply::Answer(refused())),
        ] {
            let (permit, _) = ask(authority, case.format, &case.input.to_string());
            let refusal = permit.unwrap_err();
            assert!(!refusal.advice().is_empty());
        }
    }
}

#[test]
fn an_input_that_cannot_be_decided_on_asks_nobody() {
    let bash = r#""tool_name":"Bash","tool_input":{"command":"ls"}"#;
    for input in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        format!(r#"{{"hook_event_name":"PreToolUse",{bash}}} {{}}"#),
        // Two readers could read two calls.
        format!(r#"{{"hook_event_name":"PreToolUse",{bash},"tool_name":"Read"}}"#),
        format!(r#"{{"hook_event_name":"PreToolUse",{bash},"tool_n\u0061me":"Read"}}"#),
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls","command":"rm"}}"#.to_owned(),
        // Not the events before a tool.
        format!(r#"{{"hook_event_name":"PostToolUse",{bash}}}"#),
        format!(r#"{{"hook_event_name":"pretooluse",{bash}}}"#),
        format!(r#"{{"hook_event_name":["PreToolUse"],{bash}}}"#),
        format!("{{{bash}}}"),
        // Parts that are absent, or have other types.
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash"}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_input":{}}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"","tool_input":{}}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":"ls"}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":null}"#.to_owned(),
        // The argument that names the resource is no string.
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":["ls"]}}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{}}"#.to_owned(),
        // Servers without a usable name.
        r#"{"hook_event_name":"PreToolUse","tool_name":"mcp__files","tool_input":{}}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"mcp____read","tool_input":{}}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"mcp__a.b__read","tool_input":{}}"#.to_owned(),
        r#"{"hook_event_name":"PreToolUse","tool_name":"mcp__files__","tool_input":{}}"#.to_owned(),
        r#"{"hook_event_name":"beforeMCPExecution","tool_name":"read","tool_input":"{}","command":"npx evil"}"#.to_owned(),
        r#"{"hook_event_name":"beforeMCPExecution","tool_name":"read","tool_input":"{}"}"#.to_owned(),
        r#"{"hook_event_name":"beforeMCPExecution","tool_name":"read","tool_input":"{}","command":"npx files","url":"https://mcp.example/mcp"}"#.to_owned(),
        r#"{"hook_event_name":"beforeMCPExecution","tool_name":"read","tool_input":{"path":"/a"},"command":"npx files"}"#.to_owned(),
        r#"{"hook_event_name":"beforeShellExecution","command":"ls"}"#.to_owned(),
        r#"{"hook_event_name":"BeforeTool","tool_name":"x","tool_input":{},"mcp_context":{"server_name":"files"}}"#.to_owned(),
    ] {
        for format in FORMATS {
            let everything = MockAuthority::new().allow("tool.Bash").allow("mcp.files.read");
            let (permit, authority) = ask(everything, format, &input);
            assert!(permit.is_err(), "{format:?} {input}");
            assert!(authority.calls().is_empty(), "{format:?} {input}");
        }
    }
}

#[test]
fn the_input_of_one_agent_is_not_that_of_another() {
    for case in cases() {
        let other = match case.format {
            HookFormat::ClaudeCode | HookFormat::Codex => HookFormat::Cursor,
            HookFormat::Cursor => HookFormat::GeminiCli,
            HookFormat::GeminiCli => HookFormat::ClaudeCode,
        };
        assert!(HookCall::parse(other, &case.input.to_string()).is_err());
    }
}

#[test]
fn each_agent_reads_the_decision_in_its_own_words() {
    let claude = |decision: &str, reason: &str| {
        json!({"hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": decision,
            "permissionDecisionReason": reason,
        }})
    };
    let read = |text: String| serde_json::from_str::<Value>(&text).ok();
    let words = |format: HookFormat| (read(format.allow()), read(format.deny("no", None)));
    assert_eq!(
        words(HookFormat::ClaudeCode),
        (
            Some(claude("allow", "permitted by the policies")),
            Some(claude("deny", "no"))
        )
    );
    assert_eq!(words(HookFormat::Codex), (None, Some(claude("deny", "no"))));
    assert_eq!(
        words(HookFormat::Cursor),
        (
            Some(json!({"permission": "allow"})),
            Some(json!({"permission": "deny", "user_message": "no", "agent_message": "no"}))
        )
    );
    assert_eq!(
        words(HookFormat::GeminiCli),
        (
            Some(json!({"decision": "allow"})),
            Some(json!({"decision": "deny", "reason": "no"}))
        )
    );
    for format in FORMATS {
        assert!(!format.no_decision().contains("allow"));
        // Codex and some versions of Cursor run a tool about which a hook wants the user asked.
        assert!(!format.deny("no", None).contains("ask"));
    }
}

#[test]
fn only_a_text_for_the_user_tells_why_the_authority_failed() {
    for format in FORMATS {
        let answer = format.deny("not decided", Some("no route to 10.0.0.7"));
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let shown_to_user = answer.as_object_mut().unwrap().remove("user_message");
        assert!(!answer.to_string().contains("10.0.0.7"), "{answer}");
        let expected = match format {
            HookFormat::Cursor => Some(json!("not decided (no route to 10.0.0.7)")),
            _ => None,
        };
        assert_eq!(shown_to_user, expected);
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_is_read_as_another_call(
        which in 0..10_usize, at in any::<prop::sample::Index>(), inserted in ".{0,3}", removed in 0..4_usize,
    ) {
        let case = cases().into_iter().nth(which).unwrap();
        let mut text: Vec<char> = case.input.to_string().chars().collect();
        let at = at.index(text.len());
        let end = (at + removed).min(text.len());
        text.splice(at..end, inserted.chars());
        let text: String = text.into_iter().collect();
        for format in FORMATS {
            let Ok(call) = HookCall::parse(format, &text) else { continue };
            // What passes is an object that another reader reads the same way.
            let value: Value = serde_json::from_str(&text).unwrap();
            if let Some(name) = value.get("tool_name") {
                prop_assert_eq!(name, call.tool_name());
            }
            if let Some(input) = value.get("tool_input").filter(|input| input.is_object()) {
                prop_assert_eq!(&Value::Object(call.operation().context().as_object().clone()), input);
            }
        }
    }
}
