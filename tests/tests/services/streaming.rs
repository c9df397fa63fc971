//! Tests that bodies pass frame by frame in both directions, with their trailers and lengths.

use axum::body::Body as AxumBody;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::agents::good_token;
use crate::asking::{VERSIONS, asking, client, send};
use crate::passing::{PATH, all, allowing};
use crate::serving::Served;
use crate::wire::{Body, Wire, empty, next, soon};

const SUM: HeaderName = HeaderName::from_static("x-sum");

/// Sends each frame back as it arrives.
async fn echo(request: Request) -> Response {
    let mut response = Response::new(request.into_body());
    // HTTP/1.1 sends only announced trailers (RFC 9110 §6.6.2).
    let announced = HeaderValue::from_static("x-sum");
    response.headers_mut().insert(header::TRAILER, announced);
    response
}

/// Checks each service with `handler`, over each version of HTTP.
async fn by_every_service(check: impl AsyncFn(&str, &Served, Version)) {
    for version in VERSIONS {
        let app = allowing();
        for (name, serve) in all(&app, echo) {
            let case = format!("{name}, {version:?}");
            check(&case, &Served::new(serve).await, version).await;
        }
        // Each request but the public one obtained a permit.
        assert_eq!(app.scripted.calls().len(), 3 * 2, "{version:?}");
    }
}

/// Announces trailers, and accepts them.
fn with_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TRAILER, HeaderValue::from_static("x-sum"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
}

#[tokio::test]
async fn a_chunk_is_seen_on_the_other_side_before_the_next_one_is_sent() {
    by_every_service(async |case, served, version| {
        let mut wire = Wire::connect(served.address, version).await;
        let (mut chunks, body) = Channel::<Bytes>::new(1);
        let response = wire.send(wire.request(Method::POST, PATH, body.boxed()));
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), 200, "{case}");
        let mut echoed = response.into_body();
        for number in 0..8 {
            let chunk = Bytes::from(format!("chunk {number}"));
            soon(chunks.send_data(chunk.clone())).await.unwrap();
            let back = next(&mut echoed).await.unwrap().unwrap();
            assert_eq!(back.into_data().unwrap(), chunk, "{case}");
        }
        drop(chunks);
        // HTTP/2 may end a body with an empty frame.
        let rest = soon(echoed.collect()).await.unwrap().to_bytes();
        assert!(rest.is_empty(), "{case}");
    })
    .await;
}

#[tokio::test]
async fn trailers_go_through_in_both_directions() {
    by_every_service(async |case, served, version| {
        let mut wire = Wire::connect(served.address, version).await;
        let (mut frames, body) = Channel::<Bytes>::new(1);
        let mut request = wire.request(Method::POST, PATH, body.boxed());
        with_trailers(request.headers_mut());
        let mut echoed = soon(wire.send(request)).await.unwrap().into_body();
        soon(frames.send_data(Bytes::from("data"))).await.unwrap();
        let data = next(&mut echoed).await.unwrap().unwrap();
        assert_eq!(data.into_data().unwrap(), "data", "{case}");
        let sum = HeaderMap::from_iter([(SUM, HeaderValue::from_static("4"))]);
        soon(frames.send_trailers(sum.clone())).await.unwrap();
        drop(frames);
        let trailers = next(&mut echoed).await.unwrap().unwrap();
        assert_eq!(trailers.into_trailers().unwrap(), sum, "{case}");
        assert!(next(&mut echoed).await.is_none(), "{case}");
    })
    .await;
}

/// Returns bytes that do not repeat, so that a lost or repeated byte is found.
fn many(count: u32) -> Bytes {
    let words = (0..count / 4).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes());
    words.collect()
}

#[tokio::test]
async fn a_large_body_is_the_same_at_the_other_end() {
    let large = many(8 << 20);
    by_every_service(async |case, served, version| {
        let mut request = asking(Method::POST, PATH, Some(good_token()));
        *request.body_mut() = large.clone();
        let answer = send(&client(version), served.address, request)
            .await
            .unwrap();
        assert!(answer.body == large, "{case}: it is another body");
        // A body of known length keeps it.
        let length = answer.header(header::CONTENT_LENGTH);
        assert_eq!(length, Some(&*large.len().to_string()), "{case}");
    })
    .await;
}

#[tokio::test]
async fn a_large_body_of_unknown_length_is_the_same_at_the_other_end() {
    let large = many(4 << 20);
    by_every_service(async |case, served, version| {
        let mut wire = Wire::connect(served.address, version).await;
        // Pieces of odd sizes, which fit no buffer of a usual size.
        let pieces = large.chunks(65_521).map(Bytes::copy_from_slice);
        let frames: Vec<_> = pieces.map(|piece| Ok(Frame::data(piece))).collect();
        let body: Body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        let response = soon(wire.send(wire.request(Method::POST, PATH, body)))
            .await
            .unwrap();
        assert!(
            !response.headers().contains_key(header::CONTENT_LENGTH),
            "{case}"
        );
        let back = soon(response.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        assert!(back == large, "{case}: it is another body");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_end_as_if_it_were_whole() {
    async fn breaks_off() -> Response {
        let frames = [Ok(Bytes::from("the first half")), Err("broken")];
        Response::new(AxumBody::from_stream(futures_util::stream::iter(frames)))
    }
    for version in VERSIONS {
        for (name, serve) in all(&allowing(), breaks_off) {
            let served = Served::new(serve).await;
            let mut wire = Wire::connect(served.address, version).await;
            let request = wire.request(Method::GET, PATH, empty());
            // The head may not have been sent before the body broke off.
            if let Ok(response) = soon(wire.send(request)).await {
                let body = soon(response.into_body().collect()).await;
                assert!(body.is_err(), "{name}, {version:?}: {body:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_any_more_is_dropped() {
    for version in VERSIONS {
        let app = allowing();
        let (gone, mut noticed) = tokio::sync::mpsc::unbounded_channel::<()>();
        let endless = async move || {
            let gone = gone.clone();
            let stream = futures_util::stream::unfold(gone, async |gone| {
                tokio::task::yield_now().await;
                Some((
                    Ok::<_, std::convert::Infallible>(Bytes::from_static(&[0; 4096])),
                    gone,
                ))
            });
            Response::new(AxumBody::from_stream(stream))
        };
        for (name, serve) in all(&app, endless) {
            let served = Served::new(serve).await;
            let mut wire = Wire::connect(served.address, version).await;
            let request = wire.request(Method::GET, PATH, empty());
            let mut body = soon(wire.send(request)).await.unwrap().into_body();
            assert!(next(&mut body).await.unwrap().is_ok(), "{name}");
            drop((body, wire));
        }
        // Dropped with the last stream, and with the last service and its handler.
        assert_eq!(soon(noticed.recv()).await, None);
    }
}
