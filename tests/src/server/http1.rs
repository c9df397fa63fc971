//! Answers HTTP/1.1 byte by byte, so that no library corrects the script.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::sleep;

use super::reply::{At, Fault, Framing, Reply};
use super::{Request, Socket, State};

/// Answers requests until the connection ends or the script ends it.
pub(super) async fn serve(socket: impl Socket, state: Arc<State>, number: usize) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    while let Some(request) = receive(&mut socket, number).await? {
        let (reply, _busy) = state.answer(request);
        let written = Written::new(&reply);
        write(&mut socket, written.until_fault(), &reply).await?;
        match reply.fault.map(|(fault, _)| fault) {
            None if written.keeps_alive => {}
            Some(Fault::Stall) => return gone(&mut socket).await,
            Some(Fault::Reset) => return socket.get_ref().reset_on_drop(),
            None | Some(Fault::Close | Fault::Refuse | Fault::GoAway) => {
                // The connection counts as open until the client has noticed.
                socket.get_mut().shutdown().await?;
                return gone(&mut socket).await;
            }
        }
    }
    Ok(())
}

/// Reads until the client closes its side.
async fn gone(socket: &mut BufReader<impl Socket>) -> io::Result<()> {
    tokio::io::copy(socket, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Reads the next request. Returns `None` if the connection ends before it.
async fn receive(
    socket: &mut BufReader<impl Socket>,
    connection: usize,
) -> io::Result<Option<Request>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.trim_end().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("no request line"));
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        version: "HTTP/1.1",
        headers: Vec::new(),
        body: Vec::new(),
        attempt: 0,
        connection,
    };
    loop {
        let mut line = Vec::new();
        socket.read_until(b'\n', &mut line).await?;
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or_else(|| bad("no header"))?);
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad("no header name"))?;
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        request.headers.push((name, value.to_vec()));
    }
    if let Some(length) = request.header("content-length") {
        let length = length.parse().map_err(|_| bad("no length"))?;
        request.body = vec![0; length];
        socket.read_exact(&mut request.body).await?;
    }
    Ok(Some(request))
}

/// An answer as bytes.
struct Written {
    bytes: Vec<u8>,
    fault_at: usize,
    keeps_alive: bool,
}

impl Written {
    fn new(reply: &Reply) -> Self {
        if let Some(raw) = &reply.raw {
            return Self {
                bytes: raw.to_vec(),
                fault_at: raw.len(),
                keeps_alive: false,
            };
        }
        let mut bytes = Vec::new();
        for status in &reply.informational {
            bytes.extend(format!("HTTP/1.1 {status} Wait\r\n\r\n").into_bytes());
        }
        let head_starts = bytes.len();
        let version = if reply.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        bytes.extend(format!("{version} {} Scripted\r\n", reply.status).into_bytes());
        let framing = match reply.framing {
            // These statuses have no body and no length.
            _ if matches!(reply.status, 100..=199 | 204 | 304) => None,
            Framing::Length => Some(format!("content-length: {}\r\n", reply.body.len())),
            Framing::Claimed(length) => Some(format!("content-length: {length}\r\n")),
            Framing::Chunked(_) => Some("transfer-encoding: chunked\r\n".to_owned()),
            Framing::Closed => None,
        };
        bytes.extend(framing.unwrap_or_default().into_bytes());
        for (name, value) in &reply.headers {
            bytes.extend([name, &b": "[..], value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        let body_starts = bytes.len();
        match reply.framing {
            Framing::Chunked(size) => {
                for chunk in reply.body.chunks(size) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    bytes.extend([chunk, b"\r\n"].concat());
                }
                bytes.extend(b"0\r\n\r\n");
            }
            _ => bytes.extend_from_slice(&reply.body),
        }
        bytes.extend(&reply.followed_by);
        let middle = |from: usize, to: usize| from.midpoint(to);
        Self {
            fault_at: match reply.fault {
                Some((_, At::Start)) => 0,
                Some((_, At::InHead)) => middle(head_starts, body_starts),
                Some((_, At::Body)) => body_starts,
                Some((_, At::InBody)) => middle(body_starts, bytes.len()),
                None | Some((_, At::End)) => bytes.len(),
            },
            keeps_alive: !reply.http10 && reply.framing != Framing::Closed,
            bytes,
        }
    }

    fn until_fault(&self) -> &[u8] {
        self.bytes.get(..self.fault_at).unwrap_or(&self.bytes)
    }
}

async fn write(socket: &mut BufReader<impl Socket>, bytes: &[u8], reply: &Reply) -> io::Result<()> {
    let socket = socket.get_mut();
    let Some((size, wait)) = reply.pieces else {
        socket.write_all(bytes).await?;
        return socket.flush().await;
    };
    for piece in bytes.chunks(size) {
        socket.write_all(piece).await?;
        socket.flush().await?;
        match wait.is_zero() {
            true => tokio::task::yield_now().await,
            false => sleep(wait).await,
        }
    }
    Ok(())
}
