use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// An endpoint whose collections are provided by the test.
fn endpoint() -> (Endpoint, Receiver<oneshot::Sender<Bytes>>, watch::Sender<bool>) {
    let (asked, asks) = channel();
    let asked = Mutex::new(asked);
    let (stop, stopped) = watch::channel(false);
    let ask: Ask = Box::new(move |sender| asked.lock().unwrap().send(sender).unwrap());
    (Endpoint { ask, stopped, crowded: Notify::new() }, asks, stop)
}

/// An endpoint that always returns this text.
fn always(text: &'static str) -> (Endpoint, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let ask: Ask = Box::new(move |sender| sender.send(Bytes::from_static(text.as_bytes())).unwrap());
    (Endpoint { ask, stopped, crowded: Notify::new() }, stop)
}

fn request(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn body(response: Response<Full<Bytes>>) -> Vec<u8> {
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn metrics_are_text_and_packed_only_for_who_takes_it() {
    let (endpoint, _stop) = always("node_load1 0.5\n");
    let plain = endpoint.answer(&request("GET", "/metrics?collect[]=cpu", &[])).await;
    assert_eq!(plain.status(), StatusCode::OK);
    assert_eq!(plain.headers()[CONTENT_TYPE], TEXT);
    assert!(plain.headers().get(CONTENT_ENCODING).is_none());
    assert_eq!(body(plain).await, b"node_load1 0.5\n");
    let packed = endpoint.answer(&request("GET", "/metrics", &[("accept-encoding", "br, gzip;q=0.5")])).await;
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body(packed).await[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "node_load1 0.5\n");
    let refused = endpoint.answer(&request("GET", "/metrics", &[("accept-encoding", "gzip;q=0")])).await;
    assert!(refused.headers().get(CONTENT_ENCODING).is_none());
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_without_a_collection() {
    let (endpoint, asks, _stop) = endpoint();
    let answers = [
        ("GET", "/", StatusCode::NOT_FOUND),
        ("GET", "/metrics/", StatusCode::NOT_FOUND),
        ("POST", "/metrics", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/-/healthy", StatusCode::OK),
        ("HEAD", "/-/healthy", StatusCode::OK),
    ];
    for (method, path, status) in answers {
        assert_eq!(endpoint.answer(&request(method, path, &[])).await.status(), status, "{method} {path}");
    }
    assert!(asks.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_scrape_ends_before_the_scraper_gives_up() {
    let (endpoint, asks, _stop) = endpoint();
    for (header, most) in [("1", 1.0), ("0.2", 0.2), ("15.5", 15.5), ("-1", 10.0), ("none", 10.0), ("0", 10.0)] {
        let begun = tokio::time::Instant::now();
        let answer = endpoint.answer(&request("GET", "/metrics", &[(TIMEOUT_HEADER, header)])).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let took = begun.elapsed().as_secs_f64();
        assert!(took < most && took > most * 0.8, "{header}: {took}");
        drop(asks.recv().unwrap());
    }
}

/// How long a connection lasts whose client reads `part` bytes a second of a response of 1 MB, of which 64 kB are on the way.
async fn lasts(part: usize) -> Duration {
    let text: &'static str = "x".repeat(1_000_000).leak();
    let (endpoint, _stop) = always(text);
    let (mut client, server) = tokio::io::duplex(64_000);
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let begun = tokio::time::Instant::now();
    let reading = async {
        let mut room = vec![0; part];
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if part > 0 && !client.read(&mut room).await.is_ok_and(|bytes| bytes > 0) {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = connection(server, Arc::new(endpoint)) => begun.elapsed(),
        () = reading => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_the_whole_response_in_time_is_disconnected() {
    for bytes_a_second in [0, 1, 10_000] {
        let lasts = lasts(bytes_a_second).await;
        assert!(lasts >= SENDING && lasts < SENDING * 2, "{bytes_a_second}: {lasts:?}");
    }
    assert!(lasts(50_000).await < SENDING, "a slow client is served");
}

#[tokio::test]
async fn while_stopping_every_answer_is_503() {
    let (endpoint, stop) = always("node_load1 0.5\n");
    stop.send_replace(true);
    for path in ["/metrics", "/-/healthy", "/"] {
        assert_eq!(endpoint.answer(&request("GET", path, &[])).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_collection_that_is_dropped_is_answered_with_503() {
    let (_stop, stopped) = watch::channel(false);
    let endpoint = Endpoint { ask: Box::new(drop), stopped, crowded: Notify::new() };
    assert_eq!(endpoint.answer(&request("GET", "/metrics", &[])).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}
