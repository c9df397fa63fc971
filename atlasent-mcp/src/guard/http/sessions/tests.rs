//! Tests of sessions, whose server is a shell script.

use atlasent::testing::MockAuthority;
use axum::body::to_bytes;
use axum::response::Response;

use super::super::outbox::Reader;
use super::super::reply::{event_stream, respond};
use super::*;
use crate::guard::ServerCommand;
use crate::guard::message::Message;
use crate::guard::pins::Pins;
use crate::{Gate, Mapping};

/// The sessions of an endpoint whose server is a shell script.
fn sessions(script: &str) -> (Arc<Sessions>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "fake").unwrap();
    let mapping = Mapping::standard("fake").unwrap();
    let gate = Gate::builder(Arc::new(MockAuthority::new()), mapping).build();
    let command = ServerCommand {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        secrets: Vec::new(),
        withheld: Vec::new(),
    };
    let upstream = Upstream::Command(Arc::new(command));
    let sessions = Sessions::new(Arc::new(Guard::new(gate, pins)), upstream);
    (Arc::new(sessions), folder)
}

fn caller(name: &str) -> Caller {
    Caller::configured(name).unwrap()
}

#[tokio::test]
async fn an_agent_starts_a_limited_number_of_processes() {
    let (sessions, _folder) = sessions("cat > /dev/null");
    let limits = sessions.guard.limits.of_sessions(&sessions.upstream);
    let mut open = Vec::new();
    for _ in 0..limits.of_agent {
        open.push(sessions.open(&caller("ann"), true).unwrap());
    }
    let refused = sessions.open(&caller("ann"), true).err();
    assert!(matches!(refused, Some(NotOpened::NoSlot(NoSlot::OfAgent))));
    assert!(sessions.open(&caller("bob"), true).is_ok());
    sessions.end(&open.pop().unwrap()).await.unwrap();
    assert!(sessions.open(&caller("ann"), true).is_ok());
    sessions.end_all().await;
    assert!(sessions.by_id().is_empty());
}

#[tokio::test]
async fn the_ended_streams_of_a_session_keep_a_limited_number_of_bytes() {
    let (sessions, _folder) = sessions("cat > /dev/null");
    let session = sessions.open(&caller("ann"), true).unwrap();
    let text: Arc<str> = "x".repeat(session.limits.resumable_bytes / 2).into();
    for id in 1..=6 {
        let id = RequestId::Number(id);
        session.open_stream(&id).unwrap();
        session.deliver(ToClient {
            text: Arc::clone(&text),
            about: Some(id),
            part: Part::Response,
        });
    }
    let kept: Vec<_> = {
        let streams = session.streams();
        streams.finished.iter().map(|it| it.bytes()).collect()
    };
    assert_eq!(kept, [text.len(); 2]);
    sessions.end_all().await;
}

#[tokio::test]
async fn streams_begin_with_a_primer_in_newer_versions_and_one_message_is_no_stream() {
    for (version, primer) in [
        ("2025-06-18", ""),
        ("2025-11-25", "id: 3-0\ndata:\n\n"),
        ("2025-12-24", "id: 3-0\ndata:\n\n"),
    ] {
        let (sessions, _folder) = sessions("cat > /dev/null");
        let session = sessions.open(&caller("ann"), true).unwrap();
        let deliver = |id, part, text: &str| {
            session.deliver(ToClient {
                text: text.into(),
                about: Some(RequestId::Number(id)),
                part,
            });
        };
        session.open_stream(&RequestId::Number(1)).unwrap();
        let initialized = format!(r#"{{"result":{{"protocolVersion":"{version}"}}}}"#);
        deliver(1, Part::Response, &initialized);
        let alone = session.open_stream(&RequestId::Number(2)).unwrap();
        deliver(2, Part::Response, "{}");
        let answer = respond(Reader::new(alone, None), &session).await;
        assert_eq!(text(answer).await, "{}", "{version}");
        let several = session.open_stream(&RequestId::Number(3)).unwrap();
        deliver(3, Part::Message, "[1]");
        deliver(3, Part::Response, "[2]");
        let answer = respond(Reader::new(several, None), &session).await;
        let events = "id: 3-1\nevent: message\ndata: [1]\n\nid: 3-2\nevent: message\ndata: [2]\n\n";
        assert_eq!(text(answer).await, format!("{primer}{events}"), "{version}");
        sessions.end_all().await;
    }
}

/// Reads the body of a response to its end.
async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nothing_uses_ends_by_itself() {
    let (sessions, _folder) = sessions("cat > /dev/null");
    let session = sessions.open(&caller("ann"), true).unwrap();
    let idle = sessions.guard.limits.session_idle;
    let sweeping = Arc::clone(&sessions);
    let sweeping = tokio::spawn(async move { sweeping.end_idle_ones().await });
    tokio::time::sleep(idle - SWEEP).await;
    assert!(sessions.get(&session.id, &caller("ann")).is_some());
    // It was used just now.
    tokio::time::sleep(idle - SWEEP).await;
    assert_eq!(sessions.by_id().len(), 1);
    tokio::time::sleep(3 * SWEEP).await;
    assert!(sessions.by_id().is_empty());
    sweeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_is_used_until_its_last_response_and_its_last_stream_end() {
    let (sessions, _folder) = sessions("cat > /dev/null");
    let session = sessions.open(&caller("ann"), true).unwrap();
    let too_long = sessions.guard.limits.session_idle + SWEEP;
    let id = RequestId::Number(1);
    session.open_stream(&id).unwrap();
    tokio::time::sleep(too_long).await;
    session.deliver(ToClient {
        text: "{}".into(),
        about: Some(id),
        part: Part::Response,
    });
    sessions.end_idle();
    assert_eq!(sessions.by_id().len(), 1);
    let reader = Reader::new(session.common(), None);
    let stream = event_stream(reader, Arc::clone(&session));
    tokio::time::sleep(too_long).await;
    drop(stream);
    sessions.end_idle();
    assert_eq!(sessions.by_id().len(), 1);
    tokio::time::sleep(too_long).await;
    sessions.end_idle();
    assert!(sessions.by_id().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_server_reads_nothing_does_not_keep_the_endpoint_from_ending() {
    let (sessions, _folder) = sessions("exec sleep 1000");
    let session = sessions.open(&caller("ann"), true).unwrap();
    let padding = "x".repeat(16 * 1024);
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"x":"{padding}"}}}}"#
    );
    loop {
        let message = Message::parse(&text).unwrap();
        let caller = caller("ann");
        match timeout(Duration::from_millis(100), session.reserve()).await {
            Ok(room) => room.unwrap().send(FromClient::Message { message, caller }),
            // Every channel on the way is full.
            Err(_) => break,
        }
    }
    drop(session);
    let ended = timeout(2 * END, sessions.end_all()).await;
    assert!(ended.is_ok(), "the session keeps the endpoint from ending");
}
