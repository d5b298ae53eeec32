//! The benchmark cases: a collector's reading of its file, or a collection of all collectors through the SDK.

use std::path::Path;

use heka_insights_agent::internals::collectors::limit::Limits;
use heka_insights_agent::internals::collectors::{self, COLLECTORS, Collector, Context, Options, Registered};
use heka_insights_agent::internals::host::{Host, Reader, Roots};
use heka_insights_agent::internals::metrics::naming::{Detail, Naming};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Stream};

use crate::hosts::{CALLS, Clock, SMALL, Size, TEXTFILES, server, with_only};
use crate::manual::Manual;

/// A benchmark case, at one or several sizes.
pub struct Case {
    pub name: &'static str,
    /// The unit that grows, and its sizes; a file of constant size has one size.
    pub unit: &'static str,
    pub sizes: &'static [usize],
    work: Work,
    size: fn(usize) -> Size,
}

enum Work {
    /// The collector reads and parses its file.
    Read(&'static str),
    /// The collector paging reads its two files, of which only this one has content.
    Paging(&'static str),
    /// The collector reads its files on the fixture host `server`.
    Server(&'static str),
    /// All collectors, or this one with detailed metrics, through the SDK up to the exporter's input.
    Collect(Option<&'static str>),
}

const CPUS: (&str, &[usize]) = ("CPUs", &[2, 64, 512]);
const DISKS: (&str, &[usize]) = ("disks", &[4, 32, 1_000]);
const INTERFACES: (&str, &[usize]) = ("interfaces", &[2, 20, 100]);
const PROCESSES: (&str, &[usize]) = ("processes", &[100, 1_000, 10_000]);
const MOUNTS: (&str, &[usize]) = ("mounts", &[4, 32, 1_000]);
const CONTAINERS: (&str, &[usize]) = ("containers", &[10, 100, 1_000]);
const SERVICES: (&str, &[usize]) = ("services", &[10, 60, 300]);
const ONE: (&str, &[usize]) = ("", &[1]);

const fn case(
    name: &'static str,
    (unit, sizes): (&'static str, &'static [usize]),
    work: Work,
    size: fn(usize) -> Size,
) -> Case {
    Case { name, unit, sizes, work, size }
}

#[rustfmt::skip] // a table
pub const CASES: &[Case] = &[
    case("stat", CPUS, Work::Read("cpu"), |cpus| Size { cpus, ..SMALL }),
    case("meminfo", ONE, Work::Read("memory"), |_| SMALL),
    case("swaps", ONE, Work::Paging("swaps"), |_| SMALL),
    case("vmstat", ONE, Work::Paging("vmstat"), |_| SMALL),
    case("diskstats", DISKS, Work::Read("disk"), |disks| Size { disks, ..SMALL }),
    case("net-dev", INTERFACES, Work::Read("network"), |interfaces| Size { interfaces, ..SMALL }),
    case("mountinfo", MOUNTS, Work::Read("filesystem"), |mounts| Size { mounts, ..SMALL }),
    case("loadavg", ONE, Work::Read("load"), |_| SMALL),
    case("uptime", ONE, Work::Read("system"), |_| SMALL),
    case("pressure", ONE, Work::Read("pressure"), |_| SMALL),
    case("pid-stat", PROCESSES, Work::Read("processes"), |processes| Size { processes, ..SMALL }),
    case("kernel", ONE, Work::Server("kernel"), |_| SMALL),
    case("protocols", ONE, Work::Server("protocols"), |_| SMALL),
    case("sockets", ONE, Work::Server("sockets"), |_| SMALL),
    case("link", ONE, Work::Server("link"), |_| SMALL),
    case("clock", ONE, Work::Server("clock"), |_| SMALL),
    case("sensors", ONE, Work::Server("sensors"), |_| SMALL),
    case("raid", ONE, Work::Server("raid"), |_| SMALL),
    case("ecc", ONE, Work::Server("ecc"), |_| SMALL),
    case("textfile", ONE, Work::Server("textfile"), |_| SMALL),
    case("identity", ONE, Work::Server("identity"), |_| SMALL),
    case("power", ONE, Work::Server("power"), |_| SMALL),
    case("queues", ONE, Work::Server("queues"), |_| SMALL),
    case("cgroups-containers", CONTAINERS, Work::Read("containers"), |containers| Size { containers, ..SMALL }),
    case("cgroups-services", SERVICES, Work::Read("services"), |services| Size { services, ..SMALL }),
    case("pid-top", PROCESSES, Work::Read("process"), |processes| Size { processes, ..SMALL }),
    case("collection-cpus", CPUS, Work::Collect(None), |cpus| Size { cpus, ..SMALL }),
    case("collection-disks", DISKS, Work::Collect(None), |disks| Size { disks, ..SMALL }),
    case("collection-interfaces", INTERFACES, Work::Collect(None), |interfaces| Size { interfaces, ..SMALL }),
    case("collection-processes", PROCESSES, Work::Collect(None), |processes| Size { processes, ..SMALL }),
    case("collection-containers", CONTAINERS, Work::Collect(Some("containers")), |containers| Size { containers, ..SMALL }),
    case("collection-services", SERVICES, Work::Collect(Some("services")), |services| Size { services, ..SMALL }),
];

/// The collectors without a case.
pub fn missing() -> Vec<&'static str> {
    let has = |name: &&str| {
        CASES.iter().any(|case| match case.work {
            Work::Read(collector) | Work::Server(collector) => collector == *name,
            Work::Paging(_) => *name == "paging",
            Work::Collect(_) => false,
        })
    };
    collectors::names().into_iter().filter(|name| !has(name)).collect()
}

impl Case {
    /// Prepares the cycle for a host of this size.
    pub fn prepare(&self, size: usize) -> Cycle {
        let root = if matches!(self.work, Work::Server(_)) { server() } else { (self.size)(size).root() };
        let doing = match self.work {
            Work::Read(collector) | Work::Server(collector) => Doing::read(collector, &root),
            Work::Paging(file) => Doing::read("paging", &with_only(&root, file)),
            Work::Collect(only) => Doing::collect(&root, only),
        };
        let mut cycle = Cycle { clock: Clock::new(&root), doing };
        // The baseline, and the first cycle with utilization.
        for _ in 0..2 {
            cycle.between();
            cycle.run();
        }
        cycle
    }
}

/// A prepared case.
pub struct Cycle {
    clock: Clock,
    doing: Doing,
}

enum Doing {
    Read(Box<Reader>, Box<dyn Collector>),
    Collect { reader: Manual, into: ResourceMetrics, _keep: (SdkMeterProvider, Registered) },
}

impl Cycle {
    /// Changes the host between two cycles; not measured.
    pub fn between(&mut self) {
        self.clock.tick();
        if let Doing::Read(reader, _) = &mut self.doing {
            reader.next_cycle();
        }
    }

    /// Runs one cycle. Returns the number of scopes that reported, so that the compiler cannot remove unused work.
    pub fn run(&mut self) -> usize {
        match &mut self.doing {
            Doing::Read(reader, collector) => {
                collector.read(reader);
                1
            }
            Doing::Collect { reader, into, .. } => {
                reader.collect(into).unwrap();
                into.scope_metrics().count()
            }
        }
    }
}

impl Doing {
    fn read(collector: &str, root: &Path) -> Self {
        let mut context = context(root);
        context.options.top_processes = 5;
        context.options.textfile_dir = Some(root.join(TEXTFILES));
        if ["identity", "power", "queues"].contains(&collector) {
            context.options.naming = Naming::NodeExporter;
        }
        // Detailed metrics matter only for collectors that read cgroups.
        context.options.detail = if root.join("sys/fs/cgroup").exists() { Detail::Detailed } else { Detail::Basic };
        let definition = COLLECTORS.iter().find(|known| known.name == collector).unwrap();
        Self::Read(Box::new(Reader::new(&context.host)), (definition.new)(&context))
    }

    fn collect(root: &Path, only: Option<&str>) -> Self {
        let mut context = context(root);
        if let Some(only) = only {
            context.options.collectors = Some(vec![only.to_owned()]);
            context.options.detail = Detail::Detailed;
        }
        let reader = Manual::new();
        let limits = Limits::default();
        let limit = limits.clone();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .with_view(move |_: &_| Stream::builder().with_cardinality_limit(limit.next()).build().ok())
            .build();
        let registered = collectors::register_within(&provider.meter("bench"), &context, &limits);
        Self::Collect { reader, into: ResourceMetrics::default(), _keep: (provider, registered) }
    }
}

fn context(root: &Path) -> Context {
    let mut host = Host::new(&Roots { root: Some(root.to_owned()), ..Roots::default() });
    host.calls = CALLS;
    Context { host, options: Options { per_cpu: true, ..Options::default() } }
}
