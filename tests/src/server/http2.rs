//! Answers HTTP/2, to clients with prior knowledge or by negotiation.

use std::future::poll_fn;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::reply::{At, Fault, Framing, Reply};
use super::{Request, Socket, State};

type Body = Cursor<Vec<u8>>;
type Ends = mpsc::UnboundedSender<End>;

/// The effect of the fault of a stream on its whole connection.
enum End {
    /// The connection is dropped.
    Drop,
    /// The connection ends with an error.
    GoAway,
    /// The connection accepts no more streams and ends after the last.
    Last,
}

/// Answers the streams of a connection until it ends or the script ends it.
pub(super) async fn serve(socket: impl Socket, state: Arc<State>, number: usize) -> io::Result<()> {
    let handshake = Builder::new().handshake::<_, Body>(socket);
    let mut connection = handshake.await.map_err(io::Error::other)?;
    // This sender keeps the channel open.
    let (ends, mut ended) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted.map_err(io::Error::other)?;
                let (state, ends) = (Arc::clone(&state), ends.clone());
                tokio::spawn(async move {
                    // A client that goes away in the middle is part of the script.
                    let _ = answer(request, respond, &state, number, &ends).await;
                });
            }
            end = ended.recv() => match end {
                Some(End::GoAway) => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
                Some(End::Last) => connection.graceful_shutdown(),
                Some(End::Drop) | None => return Ok(()),
            },
        }
    }
}

async fn answer(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Body>,
    state: &State,
    connection: usize,
    ends: &Ends,
) -> Result<(), h2::Error> {
    let request = receive(request, connection).await?;
    let (reply, _busy) = state.answer(request);
    if reply.raw.is_some() {
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return Ok(());
    }
    for status in &reply.informational {
        let mut informational = Response::new(());
        *informational.status_mut() = StatusCode::from_u16(*status).unwrap_or_default();
        respond.send_informational(informational)?;
    }
    if let Some((fault, At::Start | At::InHead)) = reply.fault {
        return befall(fault, respond, ends).await;
    }
    let mut stream = respond.send_response(head(&reply), false)?;
    let until = match reply.fault {
        Some((_, At::Body)) => 0,
        Some((_, At::InBody)) => reply.body.len() / 2,
        _ => reply.body.len(),
    };
    send(
        &mut stream,
        reply.body.get(..until).unwrap_or_default(),
        &reply,
    )
    .await?;
    match reply.fault {
        None | Some((Fault::Stall, At::End)) => stream.send_data(Body::default(), true),
        Some((_, At::End)) => {
            stream.send_data(Body::default(), true)?;
            // The answer must be sent before the connection ends.
            tell(ends, End::Last);
            Ok(())
        }
        Some((fault, _)) => befall(fault, stream, ends).await,
    }
}

/// A stream that can be given a fault.
trait Faulty {
    fn reset(&mut self, reason: Reason);
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>>;
}

impl Faulty for SendResponse<Body> {
    fn reset(&mut self, reason: Reason) {
        self.send_reset(reason);
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.poll_reset(context)
    }
}

impl Faulty for SendStream<Body> {
    fn reset(&mut self, reason: Reason) {
        self.send_reset(reason);
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.poll_reset(context)
    }
}

async fn befall(fault: Fault, mut stream: impl Faulty, ends: &Ends) -> Result<(), h2::Error> {
    match fault {
        Fault::Stall => {}
        Fault::Reset => stream.reset(Reason::INTERNAL_ERROR),
        Fault::Refuse => stream.reset(Reason::REFUSED_STREAM),
        Fault::Close => tell(ends, End::Drop),
        Fault::GoAway => tell(ends, End::GoAway),
    }
    if matches!(fault, Fault::Stall | Fault::Close | Fault::GoAway) {
        // Dropping the stream would reset it, which is another fault.
        poll_fn(|context| stream.poll_gone(context)).await?;
    }
    Ok(())
}

fn tell(ends: &Ends, end: End) {
    // If the connection has already ended, there is no receiver.
    let _ = ends.send(end);
}

async fn receive(
    request: http::Request<RecvStream>,
    connection: usize,
) -> Result<Request, h2::Error> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let target = parts.uri.path_and_query().map(ToString::to_string);
    Ok(Request {
        method: parts.method.to_string(),
        target: target.unwrap_or_default(),
        version: "HTTP/2",
        headers: (parts.headers.iter())
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body,
        attempt: 0,
        connection,
    })
}

fn head(reply: &Reply) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let length = match reply.framing {
        Framing::Length => Some(reply.body.len()),
        Framing::Claimed(length) => Some(length),
        Framing::Chunked(_) | Framing::Closed => None,
    };
    if let Some(length) = length {
        head.headers_mut().insert("content-length", length.into());
    }
    for (name, value) in &reply.headers {
        // Headers that HTTP/2 cannot carry are left out.
        if name == b"connection" || name == b"upgrade" {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            head.headers_mut().append(name, value);
        }
    }
    head
}

async fn send(stream: &mut SendStream<Body>, body: &[u8], reply: &Reply) -> Result<(), h2::Error> {
    let (size, wait) = reply.pieces.unwrap_or((16 * 1024, Duration::ZERO));
    for piece in body.chunks(size) {
        let mut sent = 0;
        while sent < piece.len() {
            stream.reserve_capacity(piece.len() - sent);
            let granted = poll_fn(|context| stream.poll_capacity(context)).await;
            let granted = granted.ok_or(Reason::CANCEL)??.min(piece.len() - sent);
            let part = piece.get(sent..sent + granted).unwrap_or_default();
            stream.send_data(Body::new(part.to_vec()), false)?;
            sent += granted;
        }
        match wait.is_zero() {
            true => tokio::task::yield_now().await,
            false => sleep(wait).await,
        }
    }
    Ok(())
}
