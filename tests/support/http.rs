//! A scripted OTLP server over HTTP, plain or TLS, and a proxy.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::grpc::runtime;
use super::port::Port;
use super::{Scene, Seen};

pub enum Answer {
    Take,
    /// Status, Retry-After, body.
    Status(u16, Option<&'static str>, &'static str),
    Partial(i64, &'static str),
    Hang,
}

pub struct HttpServer {
    pub scene: Arc<Scene<Answer>>,
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl HttpServer {
    pub fn start() -> Self {
        Self::with(None)
    }

    pub fn with(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = Port::new().listen();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let scene: Arc<Scene<Answer>> = Arc::default();
        let diary = scene.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let accept = async {
                    loop {
                        let (tcp, _) = listener.accept().await.unwrap();
                        let (diary, tls) = (diary.clone(), tls.clone());
                        diary.connected();
                        tokio::spawn(async move {
                            let service = service_fn(move |request| answer(request, diary.clone()));
                            let http = hyper::server::conn::http1::Builder::new();
                            match tls {
                                None => drop(http.serve_connection(TokioIo::new(tcp), service).await),
                                Some(tls) => {
                                    if let Ok(tls) = TlsAcceptor::from(tls).accept(tcp).await {
                                        drop(http.serve_connection(TokioIo::new(tls), service).await);
                                    }
                                }
                            }
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { scene, addr, stop: Some(stop) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}/v1/metrics", self.addr)
    }
}

async fn answer(
    request: Request<Incoming>,
    scene: Arc<Scene<Answer>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let mut body = body.collect().await.unwrap().to_bytes().to_vec();
    if parts.headers.get("content-encoding").is_some_and(|v| v == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let next = scene.next_answer();
    let taken = matches!(next, None | Some(Answer::Take | Answer::Partial(..)));
    let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
    scene.note(Seen { at: Instant::now(), headers: parts.headers, target: parts.uri.to_string(), request, taken });
    let response = match next {
        None | Some(Answer::Take) => Response::new(Full::default()),
        Some(Answer::Partial(rejected, why)) => {
            let partial_success =
                Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message: why.into() });
            Response::new(Full::from(ExportMetricsServiceResponse { partial_success }.encode_to_vec()))
        }
        Some(Answer::Status(status, retry_after, text)) => {
            let mut response = Response::builder().status(status);
            if let Some(value) = retry_after {
                response = response.header("retry-after", value);
            }
            response.body(Full::from(text)).unwrap()
        }
        Some(Answer::Hang) => std::future::pending().await,
    };
    Ok(response)
}

/// A proxy that sends every tunnel to one address, whatever name was asked for, and answers full-URL requests with 200.
pub struct Proxy {
    pub addr: SocketAddr,
    /// The head of each request, as it came.
    pub heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(behind: SocketAddr) -> Self {
        let listener = Port::new().listen();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let diary = heads.clone();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (mut client, _) = listener.accept().await.unwrap();
                    let diary = diary.clone();
                    tokio::spawn(async move {
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            match client.read_u8().await {
                                Ok(byte) => head.push(byte),
                                Err(_) => return,
                            }
                        }
                        let head = String::from_utf8(head).unwrap();
                        let tunnel = head.starts_with("CONNECT ");
                        diary.lock().unwrap().push(head);
                        if tunnel {
                            let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
                            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                        } else {
                            drop(client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
                        }
                    });
                }
            });
        });
        Self { addr, heads }
    }
}
