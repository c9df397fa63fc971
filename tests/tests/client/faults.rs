//! An allow in unusual but valid forms, and an allow that does not arrive intact.

use std::io::Write;

use atlasent_tests::server::{At, Fault, Reply};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::cases::{Case, Says};

/// An allow in valid, but unusual forms.
pub(crate) fn unusual(yes: &str) -> Vec<Case> {
    let json = || Reply::json(200, yes);
    let bytes = |kind| Reply::bytes(200, kind, yes);
    let big = format!("{}{yes}", " ".repeat(1024 * 1024 - yes.len()));
    let deep = format!(
        "{},\"x\":{}{}}}",
        &yes[..yes.len() - 1],
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let mut many = json();
    for n in 0..60 {
        many = many.header(&format!("x-{n}"), "y".repeat(n * 4));
    }
    [
        ("chunks of one byte", json().chunked(1)),
        ("chunks", json().chunked(7)),
        ("until the connection closes", json().until_closed()),
        ("HTTP/1.0", json().http10()),
        ("byte by byte", json().pieces(1)),
        (
            "slowly",
            json().slowly(16, std::time::Duration::from_millis(1)),
        ),
        ("continue first", json().informational(100)),
        (
            "hints first",
            json()
                .informational(102)
                .informational(103)
                .informational(103),
        ),
        ("created", Reply::json(201, yes)),
        ("accepted", Reply::json(202, yes)),
        ("as text", bytes("text/plain")),
        ("as HTML", bytes("text/html; charset=utf-8")),
        ("of no type", bytes("")),
        ("of a type that is none", bytes("%%%")),
        ("of two types", json().header("content-type", "text/html")),
        ("with a charset", bytes("application/json; charset=utf-16")),
        (
            "with headers twice",
            json()
                .header("x-a", "1")
                .header("x-a", "2")
                .header("X-A", "1"),
        ),
        (
            "with bytes beyond ASCII in a header",
            json().header("x-a", b"\x80\xff \xc3\xa4"),
        ),
        ("with many headers", many),
        (
            "with odd limits",
            json()
                .header("x-ratelimit-limit", "many")
                .header("retry-after", "-1"),
        ),
        (
            "with a cookie",
            json().header("set-cookie", "decision=deny"),
        ),
        (
            "with a place to go",
            json().header("location", "/elsewhere"),
        ),
        ("as identity", json().header("content-encoding", "identity")),
        (
            "and goodbye",
            json()
                .header("connection", "close")
                .fault(Fault::Close, At::End),
        ),
        ("with depths that nobody asked for", Reply::json(200, deep)),
        ("as large as it may be", Reply::json(200, big)),
    ]
    .map(|(name, reply)| Case::new(name, reply, Says::Yes))
    .into()
}

/// An allow under an invalid status.
pub(crate) fn statuses(yes: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        for to in [
            "/elsewhere",
            "",
            "http://127.0.0.1:1/",
            "//",
            "https://api.atlasent.io",
        ] {
            let reply = Reply::json(status, yes).header("location", to);
            cases.push(Case::new(format!("{status} to {to:?}"), reply, Says::Fails));
        }
    }
    for status in [
        300, 302, 304, 305, 399, 400, 401, 402, 403, 404, 405, 408, 409, 410, 418, 422, 425, 429,
        451, 499, 600, 999,
    ] {
        cases.push(Case::new(status, Reply::json(status, yes), Says::Fails));
    }
    for status in [500, 501, 502, 503, 504, 511, 599] {
        cases.push(Case::new(status, Reply::json(status, yes), Says::Again));
    }
    let later = Reply::json(503, yes).header("retry-after", "1");
    cases.push(Case::new("503 with a time", later, Says::Again));
    for status in [204, 205] {
        cases.push(Case::new(status, Reply::status(status), Says::Fails));
    }
    let switch = Reply::status(101)
        .header("upgrade", "permit")
        .header("connection", "upgrade");
    cases.push(http1(Case::new(
        "101",
        switch.followed_by(yes),
        Says::Fails,
    )));
    cases
}

fn http1(mut case: Case) -> Case {
    case.http1_only = true;
    case
}

/// An allow that does not arrive completely.
pub(crate) fn faults(yes: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for at in [At::Start, At::InHead, At::Body, At::InBody] {
        for fault in [
            Fault::Stall,
            Fault::Reset,
            Fault::Close,
            Fault::Refuse,
            Fault::GoAway,
        ] {
            let replies = [
                ("", Reply::json(200, yes)),
                (", chunked", Reply::json(200, yes).chunked(9)),
                (", without a length", Reply::json(200, yes).until_closed()),
                (", byte by byte", Reply::json(200, yes).pieces(1)),
                (", hints first", Reply::json(200, yes).informational(103)),
            ];
            for (how, reply) in replies {
                let stalls = fault == Fault::Stall;
                let says = if stalls { Says::Again } else { Says::Fails };
                let reply = reply.fault(fault, at);
                let name = format!("{fault:?} {at:?}{how}");
                cases.push(Case {
                    stalls,
                    ..Case::new(name, reply, says)
                });
            }
        }
    }
    cases
}

/// An allow whose body is longer or shorter than announced, longer than `limit`, or of another
/// kind.
pub(crate) fn bodies_gone_wrong(yes: &str, limit: usize) -> Vec<Case> {
    let padded = format!("{yes}{}", " ".repeat(limit));
    let zipped = |text: &[u8], zeros: usize| {
        let mut zip = GzEncoder::new(Vec::new(), Compression::best());
        zip.write_all(text).unwrap();
        for _ in 0..zeros {
            zip.write_all(&[b' '; 1024 * 64]).unwrap();
        }
        let bytes = zip.finish().unwrap();
        Reply::bytes(200, "application/json", bytes)
    };
    let html = "<!doctype html><title>Log in</title><h1>allow</h1>";
    let end = |reply: Reply| reply.fault(Fault::Close, At::End);
    [
        (
            "a length too great",
            end(Reply::json(200, yes).claims(yes.len() + 1)),
        ),
        (
            "a length far too great",
            end(Reply::json(200, yes).claims(usize::MAX / 4)),
        ),
        (
            "a length beyond the limit, and a stall",
            Reply::json(200, yes)
                .claims(limit + 1)
                .fault(Fault::Stall, At::InBody),
        ),
        (
            "a length too small",
            end(Reply::json(200, yes).claims(yes.len() - 1)),
        ),
        ("no length but zero", end(Reply::json(200, yes).claims(0))),
        (
            "one byte beyond the limit",
            Reply::json(200, &padded[..=limit]),
        ),
        (
            "beyond the limit in chunks",
            Reply::json(200, &padded).chunked(64 * 1024),
        ),
        (
            "beyond the limit and no end",
            Reply::json(200, &padded).until_closed(),
        ),
        ("HTML", Reply::bytes(200, "text/html", html)),
        ("HTML as JSON", Reply::json(200, html)),
        (
            "not UTF-8",
            Reply::bytes(
                200,
                "application/json",
                [b"{\"reason\":\"\xff\",", &yes.as_bytes()[1..]].concat(),
            ),
        ),
        (
            "UTF-16",
            Reply::bytes(
                200,
                "application/json",
                yes.encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect::<Vec<_>>(),
            ),
        ),
        (
            "zipped",
            zipped(yes.as_bytes(), 0).header("content-encoding", "gzip"),
        ),
        ("zipped in silence", zipped(yes.as_bytes(), 0)),
        (
            "a zip bomb",
            zipped(yes.as_bytes(), 256).header("content-encoding", "gzip"),
        ),
        ("a zip bomb in silence", zipped(yes.as_bytes(), 256)),
        (
            "a zip that is none",
            Reply::json(200, yes).header("content-encoding", "gzip"),
        ),
        (
            "an encoding that is none",
            Reply::json(200, yes).header("content-encoding", "br, gzip"),
        ),
    ]
    .map(|(name, reply)| Case::new(name, reply, Says::Fails))
    .into()
}

/// An allow in bytes that are not HTTP.
pub(crate) fn broken_http(yes: &str) -> Vec<Case> {
    let length = yes.len();
    let ok = "HTTP/1.1 200 OK\r\n";
    let sized = format!("content-length: {length}\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    [
        ("nothing but the body", yes.to_owned()),
        ("no version", format!("200 OK\r\n{sized}\r\n{yes}")),
        (
            "another protocol",
            format!("RTSP/1.0 200 OK\r\n{sized}\r\n{yes}"),
        ),
        (
            "another version",
            format!("HTTP/3.7 200 OK\r\n{sized}\r\n{yes}"),
        ),
        ("no status", format!("HTTP/1.1 OK\r\n{sized}\r\n{yes}")),
        (
            "a status of four digits",
            format!("HTTP/1.1 2000 OK\r\n{sized}\r\n{yes}"),
        ),
        (
            "a status of two digits",
            format!("HTTP/1.1 20 OK\r\n{sized}\r\n{yes}"),
        ),
        (
            "a header without a colon",
            format!("{ok}{sized}nonsense\r\n\r\n{yes}"),
        ),
        (
            "a folded header",
            format!("{ok}{sized}x: y\r\n z\r\n\r\n{yes}"),
        ),
        ("NUL in a header", format!("{ok}{sized}x: \0\r\n\r\n{yes}")),
        (
            "a line end in a header",
            format!("{ok}{sized}x: a\rb\r\n\r\n{yes}"),
        ),
        (
            "two lengths",
            format!("{ok}{sized}content-length: 1\r\n\r\n{yes}"),
        ),
        (
            "two lengths in one",
            format!("{ok}content-length: {length}, 1\r\n\r\n{yes}"),
        ),
        (
            "a negative length",
            format!("{ok}content-length: -{length}\r\n\r\n{yes}"),
        ),
        (
            "a signed length",
            format!("{ok}content-length: +{length}\r\n\r\n{yes}"),
        ),
        (
            "a length in hex",
            format!("{ok}content-length: 0x{length:x}\r\n\r\n{yes}"),
        ),
        (
            "a length that is too long",
            format!("{ok}content-length: {}\r\n\r\n{yes}", "9".repeat(40)),
        ),
        (
            "chunks of no size",
            format!("{ok}{chunked}\r\n\r\n{yes}\r\n0\r\n\r\n"),
        ),
        (
            "chunks of a bad size",
            format!("{ok}{chunked}\r\nxyz\r\n{yes}\r\n0\r\n\r\n"),
        ),
        (
            "chunks of a negative size",
            format!("{ok}{chunked}\r\n-1\r\n{yes}\r\n0\r\n\r\n"),
        ),
        (
            "chunks of an endless size",
            format!("{ok}{chunked}\r\n{}\r\n{yes}\r\n0\r\n\r\n", "f".repeat(17)),
        ),
        (
            "chunks that are longer than told",
            format!("{ok}{chunked}\r\n2\r\n{yes}\r\n0\r\n\r\n"),
        ),
        (
            "chunks without an end",
            format!("{ok}{chunked}\r\n{length:x}\r\n{yes}\r\n"),
        ),
        ("chunks that are none", format!("{ok}{chunked}\r\n{yes}")),
        (
            "an encoding of transfer that is none",
            format!("{ok}transfer-encoding: chunked, gzip\r\n\r\n{length:x}\r\n{yes}\r\n0\r\n\r\n"),
        ),
        (
            "a head without end",
            format!("{ok}{sized}x: {}", "y".repeat(2 * 1024 * 1024)),
        ),
        (
            "headers without end",
            format!("{ok}{sized}{}\r\n{yes}", "x: y\r\n".repeat(10_000)),
        ),
        ("TLS", "\u{16}\u{3}\u{1}\0\u{5}\u{1}".to_owned()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("an empty line", format!("\r\n\r\n\r\n\0{ok}")),
        ("only hints", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20)),
    ]
    .map(|(name, bytes)| http1(Case::new(name, Reply::raw(bytes), Says::Fails)))
    .into()
}
