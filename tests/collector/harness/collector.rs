//! Runs a real Collector on 127.0.0.1 with its own port; it writes the received data to files.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::network::Network;
use super::points::Output;
use super::process::Process;
use super::{Point, SOON, until};

/// What a Collector is to do. What its OTLP receiver gets always lands in the output `metrics`.
pub struct Plan {
    /// The OTLP receiver's `protocols`; `ADDRESS` in it stands for the Collector's address.
    pub protocols: Value,
    /// Its own host_metrics receiver, whose points land in the output `reference`.
    pub host_metrics: Option<Value>,
    /// A processor that the metrics pass on their way to the output `processed`.
    pub processor: Option<(&'static str, Value)>,
    /// Its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// Where it runs, if not in the host's own network.
    pub network: Option<Rc<Network>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { protocols: otlp_grpc(), host_metrics: None, processor: None, environment: Vec::new(), network: None }
    }
}

/// gRPC over plain TCP.
pub fn otlp_grpc() -> Value {
    json!({"grpc": {"endpoint": "ADDRESS"}})
}

/// Its line when it listens: all there is to see of one in another network.
const READY: &str = "Everything is ready";

/// A Collector, which may be stopped and started again at the same address, and its outputs.
pub struct Collector {
    dir: tempfile::TempDir,
    environment: Vec<(&'static str, PathBuf)>,
    network: Option<Rc<Network>>,
    port: u16,
    process: Option<Process>,
}

impl Collector {
    /// One that takes OTLP by gRPC, running.
    pub fn start() -> Self {
        Self::with(Plan::default())
    }

    /// One that runs as planned.
    pub fn with(plan: Plan) -> Self {
        let mut collector = Self::stopped(plan);
        collector.start_again();
        collector
    }

    /// One that has an address but does not run yet.
    pub fn stopped(plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = config(&plan, dir.path(), &address(plan.network.as_deref(), port));
        fs::write(dir.path().join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
        Self { dir, environment: plan.environment, network: plan.network, port, process: None }
    }

    /// Starts it, at the same address and with the same outputs as before, and waits until it listens.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the Collector runs already");
        let binary = std::env::var_os("HEKA_OTELCOL").expect("HEKA_OTELCOL is not set: start with tests/collector/run");
        let mut command = match &self.network {
            Some(network) => network.collector.command(Path::new(&binary)),
            None => Command::new(binary),
        };
        if self.network.is_none() {
            command.env_clear();
        }
        command.envs(self.environment.iter().map(|(name, path)| (name, path)));
        command.current_dir(self.dir.path()).arg("--config").arg(self.path("config.json"));
        let readied = fs::read_to_string(self.path("collector.log")).unwrap_or_default().matches(READY).count();
        let away = self.network.is_some();
        let mut process = Process::start("the Collector", &mut command, &self.path("collector.log"));
        let socket = self.path("otlp.sock");
        let (socket, port) = (&socket, self.port);
        // Receivers start last, so the rest is ready when this one listens.
        until("the Collector to listen", SOON, || {
            assert!(process.ended().is_none(), "the Collector ended at its start");
            if away {
                return (process.log().matches(READY).count() > readied).then_some(());
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .is_ok()
                .then_some(())
                .or_else(|| UnixStream::connect(socket).is_ok().then_some(()))
        });
        self.process = Some(process);
    }

    /// Stops it. What it has answered for is in its outputs then.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the Collector does not run");
        let (status, _) = process.end(Signal::TERM, SOON);
        assert!(status.success(), "the Collector failed: {status}");
    }

    /// `address:port`.
    pub fn address(&self) -> String {
        address(self.network.as_deref(), self.port)
    }

    /// The URL of its plain receiver.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What arrived.
    pub fn metrics(&self) -> Output {
        Output::new(self.path("metrics.json"))
    }

    /// What its own host_metrics receiver read.
    pub fn reference(&self) -> Output {
        Output::new(self.path("reference.json"))
    }

    /// What came out of the processor.
    pub fn processed(&self) -> Output {
        Output::new(self.path("processed.json"))
    }

    /// Stops it and returns all that arrived.
    pub fn harvest(mut self) -> Vec<Point> {
        if self.process.is_some() {
            self.stop();
        }
        self.metrics().take()
    }
}

fn address(network: Option<&Network>, port: u16) -> String {
    format!("{}:{port}", network.map_or("127.0.0.1", |network| network.collector.address()))
}

fn config(plan: &Plan, dir: &Path, address: &str) -> Value {
    let protocols = plan.protocols.to_string().replace("ADDRESS", address);
    let protocols = protocols.replace("SOCKET", &dir.join("otlp.sock").display().to_string());
    let protocols: Value = serde_json::from_str(&protocols).unwrap();
    let file = |name: &str| {
        let path = dir.join(name);
        json!({"path": path, "append": true, "flush_interval": "50ms"})
    };
    let mut config = json!({
        "receivers": {"otlp": {"protocols": protocols}},
        "processors": {},
        "exporters": {"file/metrics": file("metrics.json")},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file/metrics"]}},
        },
    });
    if let Some(receiver) = &plan.host_metrics {
        config["receivers"]["host_metrics"] = receiver.clone();
        config["exporters"]["file/reference"] = file("reference.json");
        config["service"]["pipelines"]["metrics/reference"] =
            json!({"receivers": ["host_metrics"], "exporters": ["file/reference"]});
    }
    if let Some((name, processor)) = &plan.processor {
        config["processors"][name] = processor.clone();
        config["exporters"]["file/processed"] = file("processed.json");
        config["service"]["pipelines"]["metrics/processed"] =
            json!({"receivers": ["otlp"], "processors": [name], "exporters": ["file/processed"]});
    }
    config
}

/// A port that is free now and stays so while nobody listens there: outside the range from which the kernel takes the
/// local ports of outgoing connections. An agent that keeps connecting to a port inside it may meet itself there.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const LOWEST: u16 = 10_000;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768u16);
    let room = first.saturating_sub(LOWEST).max(1);
    // Two test programs at once begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(room)).unwrap();
    for _ in 0..room {
        let port = LOWEST + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % room;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// How long a Collector's outputs may lag behind its answers.
pub const FLUSH: Duration = Duration::from_secs(2);
