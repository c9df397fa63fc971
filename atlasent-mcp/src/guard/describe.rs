//! Asks a server for its tools, prompts and resource templates, as a client of it does:
//! [`describe`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::credentials::{Credentials, GuardedSecret};
use super::link::{FromServer, ServerLink, ToServer};
use super::message::{Kind, Message, RequestId, error_response};
use super::{Connected, MAX_LIST_BYTES, MAX_PAGES, Upstream};
use crate::credential::HostSecret;
use crate::{Caller, Gate};

/// The version of the protocol that is asked for. Servers answer with one that they have.
const VERSION: &str = "2025-11-25";
/// How long the server has for each answer. The first one may wait for a download of the server.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server over HTTP has to end the session.
const END: Duration = Duration::from_secs(5);
/// The JSON-RPC code for a method that is not known.
const METHOD_NOT_FOUND: i64 = -32601;

/// The tools, prompts and resource templates of a server, as it lists them.
#[derive(Clone, Debug, Default)]
pub struct ServerDescription {
    /// The items of `tools/list`.
    pub tools: Vec<Value>,
    /// The items of `prompts/list`. Empty if the server has no prompts.
    pub prompts: Vec<Value>,
    /// The items of `resources/templates/list`. Empty if the server has no templates.
    pub resource_templates: Vec<Value>,
}

/// The credentials of a server over HTTP, and the caller in whose name they are sent.
///
/// As in a [guard](super::Guard::with_secret), they are sent under a permit for the action
/// `mcp.<server>:connect`, which the authority of the gate has to allow the caller.
#[derive(Debug)]
pub struct DescribeCredentials {
    /// The gate, whose mapping names the server, and whose authority grants the permits that
    /// release the secret.
    pub gate: Gate,
    /// The caller, who needs the permit to connect.
    pub caller: Caller,
    /// The secret of the server.
    pub secret: HostSecret,
}

/// Why a server did not describe itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// The server did not start.
    #[error("it did not start: {0}")]
    NotStarted(#[from] io::Error),
    /// The server ended before it had answered.
    #[error("it ended before it answered `{0}`")]
    Ended(&'static str),
    /// The server did not answer in time.
    #[error("it did not answer `{0}` within 120 s")]
    TimedOut(&'static str),
    /// A server over HTTP did not take a request, or gave no response.
    #[error("it did not answer `{method}`: {reason}")]
    Failed {
        /// The method.
        method: &'static str,
        /// What failed. It names no secret.
        reason: String,
    },
    /// The server answered with an error.
    #[error("it answered `{method}` with an error: {error}")]
    Refused {
        /// The method.
        method: &'static str,
        /// The error, as JSON.
        error: String,
    },
    /// The answer does not follow the protocol.
    #[error("its answer to `{0}` does not follow the protocol")]
    Unreadable(&'static str),
    /// The list has no end.
    #[error("its answers to `{0}` have more than 64 pages, or more than 16 MiB")]
    Endless(&'static str),
}

/// Starts a server or connects to it, lists its tools, prompts and resource templates, and ends the
/// session.
///
/// `credentials` are for a server over HTTP. A command has its secrets in its
/// [environment](super::ServerCommand::secrets).
///
/// # Errors
///
/// [`DescribeError`] if the server does not start, cannot be reached, ends, or does not follow the
/// protocol in its answers.
pub async fn describe(
    server: &Upstream,
    credentials: Option<DescribeCredentials>,
) -> Result<ServerDescription, DescribeError> {
    let credentials = match credentials {
        None => Credentials::new(None),
        Some(DescribeCredentials {
            gate,
            caller,
            secret,
        }) => {
            let secret = Arc::new(secret);
            let credentials = Credentials::new(Some(GuardedSecret { gate, secret }));
            credentials.heard_from(&caller);
            credentials
        }
    };
    let Connected { link, child } = server.connect(Arc::new(credentials))?;
    let mut conversation = Conversation { link, sent: 0 };
    let described = conversation.describe().await;
    // How it ends says nothing about what it described.
    match child {
        Some(child) => {
            drop(conversation);
            let _ = child.stop().await;
        }
        None => conversation.end().await,
    }
    described
}

/// The messages to and from a server.
struct Conversation {
    link: ServerLink,
    /// The number of requests so far.
    sent: i64,
}

impl Conversation {
    async fn describe(&mut self) -> Result<ServerDescription, DescribeError> {
        let params = json!({
            "protocolVersion": VERSION, "capabilities": {},
            "clientInfo": {"name": "atlasent", "version": env!("CARGO_PKG_VERSION")},
        });
        let initialized = self.request("initialize", params).await?;
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string())
            .await;
        let capabilities = initialized.get("capabilities");
        let has = |name: &str| capabilities.is_some_and(|all| all.get(name).is_some());
        let mut description = ServerDescription::default();
        if has("tools") {
            description.tools = self.list("tools/list", "tools").await?;
        }
        if has("prompts") {
            description.prompts = self.list("prompts/list", "prompts").await?;
        }
        if has("resources") {
            let listed = self.list("resources/templates/list", "resourceTemplates");
            description.resource_templates = match listed.await {
                // A server may have resources and not know the method.
                Err(DescribeError::Refused { .. }) => Vec::new(),
                listed => listed?,
            };
        }
        Ok(description)
    }

    /// Returns the items of all pages of a list.
    async fn list(
        &mut self,
        method: &'static str,
        member: &str,
    ) -> Result<Vec<Value>, DescribeError> {
        let (mut items, mut params, mut bytes) = (Vec::new(), Map::new(), 0);
        for _ in 0..MAX_PAGES {
            let mut page = self.request(method, Value::Object(params.clone())).await?;
            bytes += page.to_string().len();
            if bytes > MAX_LIST_BYTES {
                break;
            }
            let Some(Value::Array(found)) = page.get_mut(member).map(Value::take) else {
                return Err(DescribeError::Unreadable(method));
            };
            items.extend(found);
            match page.get_mut("nextCursor").map(Value::take) {
                None | Some(Value::Null) => return Ok(items),
                Some(cursor) => drop(params.insert("cursor".to_owned(), cursor)),
            }
        }
        Err(DescribeError::Endless(method))
    }

    async fn request(
        &mut self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, DescribeError> {
        self.sent += 1;
        let id = RequestId::Number(self.sent);
        let request =
            json!({"jsonrpc": "2.0", "id": self.sent, "method": method, "params": params});
        self.send(request.to_string()).await;
        let answer = timeout(PATIENCE, self.answer(&id, method)).await;
        answer.map_err(|_| DescribeError::TimedOut(method))?
    }

    /// Reads until the answer to a request. Requests of the server are answered, too.
    async fn answer(
        &mut self,
        id: &RequestId,
        method: &'static str,
    ) -> Result<Value, DescribeError> {
        loop {
            let message = match self.link.receiver.recv().await {
                Some(FromServer::Message { message, .. }) => message,
                Some(FromServer::Failed { id: of, reason }) if of == *id => {
                    return Err(DescribeError::Failed { method, reason });
                }
                Some(FromServer::Malformed(malformed)) if malformed.answered() == Some(id) => {
                    let reason = format!("the response of the server is invalid: {malformed}");
                    return Err(DescribeError::Failed { method, reason });
                }
                // Some servers print to their standard output before they speak the protocol.
                Some(FromServer::Malformed(_) | FromServer::Failed { .. }) => continue,
                Some(FromServer::Closed { .. }) | None => return Err(DescribeError::Ended(method)),
            };
            let body = message.body().unwrap_or_default();
            match message.kind() {
                Kind::Result { id: of } if of == id => {
                    return serde_json::from_str(body)
                        .map_err(|_| DescribeError::Unreadable(method));
                }
                Kind::Error { id: Some(of) } if of == id => {
                    let error = atlasent::text::Escaped::new(body).to_string();
                    return Err(DescribeError::Refused { method, error });
                }
                Kind::Request { id, method } => {
                    let response = match &**method {
                        "ping" => json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string(),
                        _ => error_response(Some(id), METHOD_NOT_FOUND, "not available", None),
                    };
                    self.send(response).await;
                }
                Kind::Result { .. } | Kind::Error { .. } | Kind::Notification { .. } => {}
            }
        }
    }

    /// Ends the session, and waits until a server over HTTP was told.
    async fn end(self) {
        let ServerLink {
            sender,
            mut receiver,
        } = self.link;
        drop(sender);
        let told = async { while receiver.recv().await.is_some() {} };
        let _ = timeout(END, told).await;
    }

    /// Sends a message. A server that does not take it has ended, which its answers tell.
    async fn send(&self, text: String) {
        if let Ok(message) = Message::parse(&text) {
            let _ = self
                .link
                .sender
                .send(ToServer::without_permit(message))
                .await;
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::guard::ServerCommand;

    /// Runs a server that is a shell script.
    async fn described(script: &str) -> Result<ServerDescription, String> {
        let command = ServerCommand {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            secrets: Vec::new(),
            withheld: Vec::new(),
        };
        let server = Upstream::Command(Arc::new(command));
        let described = describe(&server, None).await;
        described.map_err(|error| error.to_string())
    }

    /// Answers requests 1, 2, … with the given members, after a line that is no message.
    fn answers(answers: &[&str]) -> String {
        let mut script = "echo starting; read a; ".to_owned();
        for (place, answer) in answers.iter().enumerate() {
            // The notification after the handshake has no answer.
            let skip = if place == 1 { "read n; " } else { "" };
            let id = place + 1;
            let read = if place == 0 { "" } else { "read a; " };
            script.push_str(&format!(
                r#"{skip}{read}echo '{{"jsonrpc":"2.0","id":{id},{answer}}}'; "#
            ));
        }
        script + "cat >/dev/null"
    }

    #[tokio::test]
    async fn all_pages_of_the_lists_are_read() {
        let script = answers(&[
            r#""result":{"capabilities":{"tools":{},"prompts":{},"resources":{}}}"#,
            r#""result":{"tools":[{"name":"a"}],"nextCursor":"2"}"#,
            r#""result":{"tools":[{"name":"b"}]}"#,
            r#""result":{"prompts":[{"name":"p"}]}"#,
            r#""result":{"resourceTemplates":[{"uriTemplate":"a://{b}"}]}"#,
        ]);
        let description = described(&script).await.unwrap();
        assert_eq!(
            description.tools,
            [json!({"name": "a"}), json!({"name": "b"})]
        );
        assert_eq!(description.prompts, [json!({"name": "p"})]);
        assert_eq!(
            description.resource_templates,
            [json!({"uriTemplate": "a://{b}"})]
        );
    }

    #[tokio::test]
    async fn a_server_may_have_resources_and_no_list_of_templates() {
        let script = answers(&[
            r#""result":{"capabilities":{"tools":{},"resources":{}}}"#,
            r#""result":{"tools":[{"name":"a"}]}"#,
            r#""error":{"code":-32601,"message":"no such method"}"#,
        ]);
        let description = described(&script).await.unwrap();
        assert_eq!(description.tools, [json!({"name": "a"})]);
        assert!(description.resource_templates.is_empty());
    }

    #[tokio::test]
    async fn a_request_of_the_server_does_not_stop_the_lists() {
        let script = r#"read a; echo '{"jsonrpc":"2.0","id":"s","method":"roots/list"}'; read answer
            echo '{"jsonrpc":"2.0","id":1,"result":{"capabilities":{}}}'; cat >/dev/null"#;
        assert!(described(script).await.unwrap().tools.is_empty());
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_says_how() {
        for (script, error) in [
            (
                "exit 1".to_owned(),
                "it ended before it answered `initialize`",
            ),
            (
                answers(&[r#""error":{"code":1,"message":"no"}"#]),
                "it answered `initialize` with an error: {\"code\":1,\"message\":\"no\"}",
            ),
            (
                answers(&[
                    r#""result":{"capabilities":{"tools":{}}}"#,
                    r#""result":{"tools":{}}"#,
                ]),
                "its answer to `tools/list` does not follow the protocol",
            ),
        ] {
            assert_eq!(described(&script).await.unwrap_err(), error);
        }
        let command = ServerCommand {
            program: "atlasent-no-such-program".into(),
            arguments: Vec::new(),
            secrets: Vec::new(),
            withheld: Vec::new(),
        };
        let server = Upstream::Command(Arc::new(command));
        assert!(matches!(
            describe(&server, None).await,
            Err(DescribeError::NotStarted(_))
        ));
    }
}
