//! The collectors as a library: a Rust program with a `Meter` can register them in its own pipeline.

use std::path::PathBuf;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::collectors::{Context, DiskScope, Options, Registered, SHARED_PERIOD, names, register};
use crate::host::identity::{Identity, attributes_of};
use crate::host::{Host, Roots};
use crate::metrics::counter::Since;
use crate::metrics::filter::Filter;
use crate::metrics::naming::{Detail, Naming};

/// Host metrics as instruments on your own meter.
///
/// ```
/// use heka_insights_agent::HostMetrics;
/// use opentelemetry::metrics::MeterProvider;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
///
/// let provider = SdkMeterProvider::builder().build(); // with your own reader and exporter
/// let registered = HostMetrics::builder().collectors(["cpu", "memory"])?.per_cpu(true).register(&provider.meter("host"));
/// assert_eq!(registered.collectors.len(), 2);
/// # Ok::<(), heka_insights_agent::UnknownCollector>(())
/// ```
///
/// In `Cargo.toml`, without the agent:
///
/// ```toml
/// heka-insights-agent = { path = "…", default-features = false }
/// opentelemetry = "0.33"
/// opentelemetry_sdk = { version = "0.33", features = ["metrics"] }
/// ```
///
/// The resource belongs to the program: add [`HostMetricsBuilder::resource_attributes`] to it. Problems are logged
/// through `tracing`.
///
/// CPU utilization is the share of the time since an earlier collection. If the provider has several readers, this is
/// the last collection of any reader that was at least one second before; collections closer together report the same
/// value.
///
/// Counters count from the call of [`HostMetricsBuilder::register`], which is also the start time that the SDK reports
/// for them. The SDK combines the series of an instrument above 2,000 into one. On a host with more, add a view with
/// [`HostMetricsBuilder::max_series`] as its cardinality limit.
#[derive(Debug)]
pub struct HostMetrics;

impl HostMetrics {
    /// Starts with all collectors, basic metrics, this host, and the names of the semantic conventions.
    #[must_use]
    pub fn builder() -> HostMetricsBuilder {
        let options = Options { utilization_period: SHARED_PERIOD, ..Options::default() };
        HostMetricsBuilder { options, roots: Roots::default() }
    }
}

/// A name that is not the name of a collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no collector; allowed: {allowed}", allowed = names().join(", "))]
pub struct UnknownCollector(pub String);

/// The selection of metrics; see [`HostMetrics`].
#[derive(Clone, Debug)]
pub struct HostMetricsBuilder {
    options: Options,
    roots: Roots,
}

impl HostMetricsBuilder {
    /// Selects only these collectors.
    ///
    /// # Errors
    /// The first unknown name.
    pub fn collectors<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCollector> {
        let mut collectors = Vec::new();
        for name in names {
            if !crate::collectors::names().contains(&name) {
                return Err(UnknownCollector(name.to_owned()));
            }
            collectors.push(name.to_owned());
        }
        self.options.collectors = Some(collectors);
        Ok(self)
    }

    /// Selects basic or detailed metrics.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.options.detail = detail;
        self
    }

    /// Reports CPU series per logical CPU instead of for the whole host.
    #[must_use]
    pub fn per_cpu(mut self, per_cpu: bool) -> Self {
        self.options.per_cpu = per_cpu;
        self
    }

    /// Selects the naming profile.
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.options.naming = naming;
        self
    }

    /// Sets the origin of the counters. [`Since::Boot`] contradicts the start time that the SDK reports for them.
    #[must_use]
    pub fn counters_since(mut self, since: Since) -> Self {
        self.options.since = since;
        self
    }

    /// Reports one series per disk, or one for all physical disks.
    #[must_use]
    pub fn disk_scope(mut self, scope: DiskScope) -> Self {
        self.options.disk_scope = scope;
        self
    }

    /// Selects disks by name. An include replaces the default selection, which is the whole physical disks.
    #[must_use]
    pub fn disks(mut self, filter: Filter) -> Self {
        self.options.disks = filter;
        self
    }

    /// Selects file systems by mount point. An include replaces the default selection, which is the disk-backed ones.
    #[must_use]
    pub fn filesystems(mut self, filter: Filter) -> Self {
        self.options.filesystems = filter;
        self
    }

    /// Selects network interfaces by name. An include replaces the default selection, which is all except `lo` and the
    /// interfaces of containers.
    #[must_use]
    pub fn interfaces(mut self, filter: Filter) -> Self {
        self.options.interfaces = filter;
        self
    }

    /// Maximum number of series per metric; extra series are dropped, counted in [`Registered::collectors`] and logged once.
    #[must_use]
    pub fn limit_series(mut self, most: usize) -> Self {
        self.options.max_series = Some(most);
        self
    }

    /// Set to true if the temporality of your reader is delta: a series that returns after an absence must then not
    /// report its previous total again.
    #[must_use]
    pub fn delta(mut self, delta: bool) -> Self {
        self.options.delta = delta;
        self
    }

    /// Sets the host's root directory, for a program in a container.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.roots.root = Some(root.into());
        self
    }

    /// Sets the host's `/proc`, if it is not below the root (`HOST_PROC` of the agent).
    #[must_use]
    pub fn proc(mut self, dir: impl Into<PathBuf>) -> Self {
        self.roots.proc = Some(dir.into());
        self
    }

    /// Sets the host's `/sys`, if it is not below the root (`HOST_SYS` of the agent).
    #[must_use]
    pub fn sys(mut self, dir: impl Into<PathBuf>) -> Self {
        self.roots.sys = Some(dir.into());
        self
    }

    /// Sets the host's `/etc`, if it is not below the root (`HOST_ETC` of the agent).
    #[must_use]
    pub fn etc(mut self, dir: impl Into<PathBuf>) -> Self {
        self.roots.etc = Some(dir.into());
        self
    }

    /// The maximum number of series per metric on this host; see [`HostMetricsBuilder::limit_series`].
    #[must_use]
    pub fn max_series(&self) -> usize {
        crate::collectors::max_series(&self.context())
    }

    /// The attributes of this host for your resource: `host.id`, `host.name`, `host.arch` and `os.*`, if known.
    #[must_use]
    pub fn resource_attributes(&self) -> Vec<KeyValue> {
        let host = Host::new(&self.roots);
        let identity = host.within("the host's identity", Identity::read).unwrap_or_default();
        attributes_of(&host, &identity)
    }

    /// Takes the baseline of every counter and creates the instruments on `meter`.
    pub fn register(&self, meter: &Meter) -> Registered {
        register(meter, &self.context())
    }

    fn context(&self) -> Context {
        Context { host: Host::new(&self.roots), options: self.options.clone() }
    }
}
