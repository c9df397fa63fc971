//! Connections to a listening guard whose clients begin a request and do not finish it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::support::{EVERYTHING, Stage, atlasent, counting_server};

/// A guard that ends with the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_connection_without_the_whole_head_of_a_request_is_closed() {
    let stage = Stage::new(EVERYTHING);
    let mut guard = Guard(
        Command::new(atlasent())
            .args(stage.guard("fake"))
            .args(["--listen", "127.0.0.1:0"])
            .args(counting_server(&stage.path("log"), ""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().rsplit_once("://").expect("an address").1;
    let address = address.trim_end_matches("/mcp");
    let begun = ["", "POST /mcp HTTP/1.1\r\nhost: ", "PRI * HTTP/2.0\r\n"];
    let open = begun.map(|begun| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
        (begun, stream)
    });
    // All connections are closed after the same 10 seconds.
    for (begun, mut stream) in open {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{begun:?}"),
        }
    }
}
