//! A server that can send any HTTP response: a proxy's page, an answer without a gRPC status, a body that does not
//! parse. HTTP/2 for gRPC and HTTP/1.1 for OTLP over HTTP.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::grpc::runtime;
use super::{Scene, Seen};

#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(&'static str, &'static str)>,
    /// Whether the data counts as taken.
    pub taken: bool,
    pub hang: bool,
    /// The connection ends without an answer.
    pub cut: bool,
}

impl Reply {
    pub fn page(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub fn taken(self) -> Self {
        Self { taken: true, ..self }
    }

    /// A gRPC answer with this status.
    pub fn grpc(status: &'static str) -> Self {
        let answer = Self::page(200).header("content-type", "application/grpc").body([0; 5]);
        Self { trailers: vec![("grpc-status", status)], taken: status == "0", ..answer }
    }

    /// The usual success of either protocol.
    pub fn success(grpc: bool) -> Self {
        if grpc { Self::grpc("0") } else { Self::page(200).header("content-type", "application/x-protobuf").taken() }
    }

    pub fn cut() -> Self {
        Self { cut: true, ..Self::page(200) }
    }

    pub fn hang() -> Self {
        Self { hang: true, ..Self::page(200) }
    }
}

/// What a connection's answers need: the diary, the sizes, the script, and the end of the connection.
type Parts = (Arc<Scene<()>>, Arc<Mutex<Vec<usize>>>, Handler, Arc<tokio::sync::Notify>);
type Handler = Arc<dyn Fn(usize, usize) -> Reply + Send + Sync>;

pub struct PageServer {
    pub scene: Arc<Scene<()>>,
    pub addr: SocketAddr,
    origin: String,
    pub sizes: Arc<Mutex<Vec<usize>>>,
    grpc: bool,
    _stop: oneshot::Sender<()>,
}

impl PageServer {
    /// The handler gets the number of the request, from 0, and the size of its message.
    pub fn start(grpc: bool, handler: impl Fn(usize, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, grpc, Arc::new(handler))
    }

    /// As [`start`](Self::start), for OTLP over HTTP with TLS.
    pub fn over_tls(tls: Arc<ServerConfig>, handler: impl Fn(usize, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Some(tls), false, Arc::new(handler))
    }

    fn with(tls: Option<Arc<ServerConfig>>, grpc: bool, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (scene, sizes) = (Arc::<Scene<()>>::default(), Arc::<Mutex<Vec<usize>>>::default());
        let (diary, counted) = (scene.clone(), sizes.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let origin = match tls {
            Some(_) => format!("https://localhost:{}", addr.port()),
            None => format!("http://{addr}"),
        };
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let accept = async {
                    loop {
                        let (tcp, _) = listener.accept().await.unwrap();
                        let (diary, counted, handler) = (diary.clone(), counted.clone(), handler.clone());
                        let tls = tls.clone();
                        diary.connected();
                        tokio::spawn(async move {
                            let cut = Arc::new(tokio::sync::Notify::new());
                            let ending = cut.clone();
                            let service = service_fn(move |request| {
                                let parts = (diary.clone(), counted.clone(), handler.clone(), ending.clone());
                                answer(request, grpc, parts)
                            });
                            let serve = async {
                                let http1 = hyper::server::conn::http1::Builder::new();
                                match tls {
                                    Some(tls) => {
                                        let io = TokioIo::new(TlsAcceptor::from(tls).accept(tcp).await.unwrap());
                                        drop(http1.serve_connection(io, service).await);
                                    }
                                    None if grpc => {
                                        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                                        drop(http2.serve_connection(TokioIo::new(tcp), service).await);
                                    }
                                    None => drop(http1.serve_connection(TokioIo::new(tcp), service).await),
                                }
                            };
                            tokio::select! { () = serve => {}, () = cut.notified() => {} }
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { scene, addr, origin, sizes, grpc, _stop: stop }
    }

    pub fn endpoint(&self) -> String {
        format!("{}{}", self.origin, if self.grpc { "" } else { "/v1/metrics" })
    }
}

async fn answer(
    request: Request<Incoming>,
    grpc: bool,
    (scene, sizes, handler, cut): Parts,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let message = if grpc { body.slice(5..) } else { body };
    let reply = {
        let mut sizes = sizes.lock().unwrap();
        sizes.push(message.len());
        handler(sizes.len() - 1, message.len())
    };
    let request = ExportMetricsServiceRequest::decode(message).unwrap();
    let (target, taken) = (parts.uri.to_string(), reply.taken);
    scene.note(Seen { at: Instant::now(), headers: parts.headers, target, request, taken });
    if reply.cut {
        cut.notify_one();
    }
    if reply.hang || reply.cut {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from(reply.body));
    let body = match reply.trailers.is_empty() {
        true => body.boxed(),
        false => {
            let trailers = reply
                .trailers
                .into_iter()
                .map(|(name, value)| (name.parse::<super::http_types::HeaderName>().unwrap(), value.parse().unwrap()))
                .collect();
            body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed()
        }
    };
    Ok(response.body(body).unwrap())
}
