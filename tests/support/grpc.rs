//! A scripted OTLP server over gRPC: TCP, TLS or a unix socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::port::Port;
use super::{Scene, Seen};

pub enum Answer {
    Take,
    Status(Status),
    /// Takes all but this many points.
    Partial(i64, &'static str),
    /// Accepts it, and answers only after this long.
    Slow(Duration),
    /// Never answers.
    Hang,
    /// Accepts the request and never answers.
    TakeAndHang,
}

struct Service(Arc<Scene<Answer>>);

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = self.0.next_answer().unwrap_or(Answer::Take);
        let taken = matches!(answer, Answer::Take | Answer::Slow(_) | Answer::Partial(..) | Answer::TakeAndHang);
        self.0.note(Seen {
            at: Instant::now(),
            headers: metadata.into_headers(),
            target: String::new(),
            request,
            taken,
        });
        let partial_success = match answer {
            Answer::Take => None,
            Answer::Slow(delay) => {
                tokio::time::sleep(delay).await;
                None
            }
            Answer::Status(status) => return Err(status),
            Answer::Partial(rejected, why) => {
                Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message: why.into() })
            }
            Answer::Hang | Answer::TakeAndHang => std::future::pending().await,
        };
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

/// Serves until it is dropped.
pub struct GrpcServer {
    pub scene: Arc<Scene<Answer>>,
    pub addr: SocketAddr,
    /// `None` with a Unix socket.
    port: Option<Port>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl GrpcServer {
    pub fn start() -> Self {
        Self::on(Port::new(), None)
    }

    /// Again where it was, with the same diary.
    pub fn restart(port: Port, scene: Arc<Scene<Answer>>, tls: Option<ServerTlsConfig>) -> Self {
        Self::serve(port, tls, scene)
    }

    pub fn on(port: Port, tls: Option<ServerTlsConfig>) -> Self {
        Self::serve(port, tls, Arc::default())
    }

    fn serve(port: Port, tls: Option<ServerTlsConfig>, scene: Arc<Scene<Answer>>) -> Self {
        let (addr, listener) = (port.addr(), port.listen());
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let diary = scene.clone();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let count = diary.clone();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener).map(move |connection| {
                    count.connected();
                    connection
                });
                let mut server = Server::builder();
                if let Some(tls) = tls {
                    server = server.tls_config(tls).unwrap();
                }
                let serving = server.add_service(service(diary)).serve_with_incoming(incoming);
                // Not gracefully: connections die with it.
                tokio::select! { _ = serving => {}, _ = stopped => {} }
            });
        });
        Self { scene, addr, port: Some(port), stop: Some(stop), thread: Some(thread) }
    }

    pub fn unix(path: &Path) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let scene: Arc<Scene<Answer>> = Arc::default();
        let diary = scene.clone();
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
                let serving = Server::builder().add_service(service(diary)).serve_with_incoming(incoming);
                tokio::select! { _ = serving => {}, _ = stopped => {} }
            });
        });
        let addr = "127.0.0.1:0".parse().unwrap();
        Self { scene, addr, port: None, stop: Some(stop), thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends it and every connection; the port and the diary stay.
    pub fn down(mut self) -> (Port, Arc<Scene<Answer>>) {
        self.end();
        (self.port.take().unwrap(), self.scene.clone())
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn service(scene: Arc<Scene<Answer>>) -> MetricsServiceServer<Service> {
    MetricsServiceServer::new(Service(scene)).accept_compressed(CompressionEncoding::Gzip)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
