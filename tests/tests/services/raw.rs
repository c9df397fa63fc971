//! Sends HTTP/1.1 byte by byte, so that no client corrects a test.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::wire::soon;

/// A connection, which dropping closes.
pub(crate) struct Raw(BufReader<TcpStream>);

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The headers, with names in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(header, _)| header == name);
        let (_, value) = named.next()?;
        assert!(named.next().is_none(), "twice: {self:?}");
        Some(value)
    }

    fn length(&self) -> usize {
        self.header("content-length")
            .map_or(0, |length| length.parse().unwrap())
    }
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Makes dropping reset the connection, which the other side notices at once.
    pub(crate) fn reset(&self) {
        self.0.get_ref().set_zero_linger().unwrap();
    }

    /// Reads the next head. Returns `None` if the connection ends before it.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        soon(self.read_head()).await
    }

    async fn read_head(&mut self) -> Option<Head> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.ok()? == 0 {
                assert!(lines.is_empty(), "half a head: {lines:?}");
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines[0].strip_prefix("HTTP/1.1 ").unwrap();
        let headers = lines[1..].iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Some(Head {
            status: status[..3].parse().unwrap(),
            headers: headers.collect(),
        })
    }

    /// Reads exactly `count` bytes.
    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        soon(self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Reads until the other side closes the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends the connection as well.
        let _ = soon(self.0.read_to_end(&mut rest)).await;
        rest
    }

    /// Reads the next response with its body, whose length must be known. Returns `None` if the
    /// connection ends before it.
    pub(crate) async fn response(&mut self) -> Option<(Head, String)> {
        let head = self.head().await?;
        let body = self.read(head.length()).await;
        Some((head, String::from_utf8(body).unwrap()))
    }
}
