//! Tests the boundaries between requests on a connection.

use super::{good_line, targets};
use crate::raw::Raw;
use crate::ways::PATH;

#[tokio::test]
async fn each_request_of_a_connection_needs_a_token_of_its_own() {
    for target in targets().await {
        let (with, without) = (
            target.request(PATH, good_line().as_bytes()),
            target.request(PATH, b""),
        );
        let mut raw = Raw::connect(target.served.address).await;
        raw.write([&*with, &without, &with, &without].concat())
            .await;
        for status in [200, 401, 200, 401] {
            let (head, _) = raw.response().await.unwrap();
            assert_eq!(head.status, status, "{}", target.way.name);
        }
        assert_eq!(target.app.ran.count(), 2, "{}", target.way.name);
    }
}

#[tokio::test]
async fn a_request_that_hides_in_the_body_of_another_does_not_share_its_token() {
    for target in targets().await {
        let hidden = String::from_utf8(target.request(PATH, b"")).unwrap();
        let start = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{}", good_line());
        let lengths = [
            format!(
                "content-length: {}\r\ntransfer-encoding: chunked\r\n",
                hidden.len() + 5
            ),
            format!(
                "transfer-encoding: chunked\r\ncontent-length: {}\r\n",
                hidden.len() + 5
            ),
            format!(
                "content-length: 5\r\ncontent-length: {}\r\n",
                hidden.len() + 5
            ),
            "transfer-encoding: identity, chunked\r\n".to_owned(),
            "transfer-encoding: chunked, identity\r\n".to_owned(),
            "transfer-encoding: xchunked\r\ncontent-length: 5\r\n".to_owned(),
        ];
        for length in lengths {
            let before = target.app.ran.count();
            let mut raw = Raw::connect(target.served.address).await;
            raw.write(format!("{start}{length}\r\n0\r\n\r\n{hidden}"))
                .await;
            let mut good = 0;
            while let Some((head, _)) = raw.response().await {
                good += usize::from(head.status == 200);
                // No further response follows the hidden request, or an invalid one.
                if head.status != 200 {
                    break;
                }
            }
            let ran = target.app.ran.count() - before;
            assert!(
                ran <= 1 && ran == good,
                "{}, {length}: {ran} ran",
                target.way.name
            );
        }
    }
}
