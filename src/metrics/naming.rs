//! Metrics as data. Each collector's file opens with its table of [`Metric`] rows: name, unit, kind, attributes,
//! description and source, once per naming profile. Instruments, `docs/metrics.md` and the tests are made from them.
//!
//! Three profiles: [`Naming::Semconv`] is OpenTelemetry semantic conventions v1.44. [`Naming::Hostmetrics`] has the
//! names, attribute keys, attribute values and units of the Collector's hostmetrics receiver v0.160, and
//! [`Naming::NodeExporter`] the names, labels, values and types of Prometheus' node_exporter v1.12, for the dashboards
//! and alerts that are built on them.

use std::sync::Arc;

use opentelemetry::{Key, KeyValue, StringValue, Value};

/// A naming profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[warn(missing_docs)]
pub enum Naming {
    /// OpenTelemetry semantic conventions.
    Semconv,
    /// The Collector's hostmetrics receiver.
    Hostmetrics,
    /// Prometheus' node_exporter.
    NodeExporter,
}

impl Naming {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Semconv, Self::Hostmetrics, Self::NodeExporter];

    /// Its name for `--naming`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Semconv => "semconv",
            Self::Hostmetrics => "hostmetrics",
            Self::NodeExporter => "node_exporter",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A total that only grows.
    Counter,
    /// A sum that goes up and down, meaningful when added over its attributes.
    UpDownCounter,
    /// A value that must not be summed.
    Gauge,
}

/// How a metric's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    Int,
    Double,
}

/// The lowest `--detail` at which a metric is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[warn(missing_docs)]
pub enum Detail {
    /// By default.
    Basic,
    /// With `--detail detailed`.
    Detailed,
}

/// A word in each profile: semantic conventions first, hostmetrics second. node_exporter uses the second one: its keys
/// are mostly the same (`device`, `cpu`), and where they differ its rows have attributes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names(pub &'static str, pub &'static str);

impl Names {
    /// A word that all profiles share.
    #[must_use]
    pub const fn both(word: &'static str) -> Self {
        Self(word, word)
    }

    /// The word in one profile.
    #[must_use]
    pub const fn of(self, naming: Naming) -> &'static str {
        match naming {
            Naming::Semconv => self.0,
            Naming::Hostmetrics | Naming::NodeExporter => self.1,
        }
    }
}

/// The key of an attribute, and its values if they are a fixed set.
#[derive(Debug)]
pub struct Attribute {
    pub key: Names,
    /// The possible values; empty if the host defines them, such as the names of devices.
    pub values: &'static [Names],
}

/// The value of an attribute in one series.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    /// One of the fixed set.
    Word(Names),
    /// A name from the host.
    Text(Arc<str>),
    Int(i64),
}

/// A metric in one profile.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    /// Its unit, as UCUM writes it.
    pub unit: &'static str,
    /// The lowest detail at which it is sent.
    pub detail: Detail,
    pub attributes: Keys,
}

pub type Keys = &'static [&'static Attribute];

/// One metric: a row of its collector's table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name within its collector.
    pub id: &'static str,
    pub kind: Kind,
    pub number: Number,
    /// The description, one sentence.
    pub description: &'static str,
    /// The file and the field it is read from.
    pub source: &'static str,
    pub since: &'static str,
    pub semconv: Option<Shape>,
    pub hostmetrics: Option<Shape>,
    pub node_exporter: Option<Shape>,
}

impl Metric {
    /// A row, to be completed with [`Metric::semconv`] and [`Metric::hostmetrics`].
    #[must_use]
    pub const fn new(
        id: &'static str,
        kind: Kind,
        number: Number,
        description: &'static str,
        source: &'static str,
    ) -> Self {
        Self {
            id,
            kind,
            number,
            description,
            source,
            since: "2.6",
            semconv: None,
            hostmetrics: None,
            node_exporter: None,
        }
    }

    /// The first kernel that has the metric's source.
    #[must_use]
    pub const fn since(self, kernel: &'static str) -> Self {
        Self { since: kernel, ..self }
    }

    #[must_use]
    pub const fn semconv(self, name: &'static str, unit: &'static str, detail: Detail, attributes: Keys) -> Self {
        Self { semconv: Some(Shape { name, unit, detail, attributes }), ..self }
    }

    /// The metric in hostmetrics. `Basic` metrics are those that the receiver sends by default.
    #[must_use]
    pub const fn hostmetrics(self, name: &'static str, unit: &'static str, detail: Detail, attributes: Keys) -> Self {
        Self { hostmetrics: Some(Shape { name, unit, detail, attributes }), ..self }
    }

    /// The metric where the semantic conventions and hostmetrics agree.
    #[must_use]
    pub const fn both(self, name: &'static str, unit: &'static str, detail: Detail, attributes: Keys) -> Self {
        self.semconv(name, unit, detail, attributes).hostmetrics(name, unit, detail, attributes)
    }

    /// The metric in node_exporter. It has no unit: the name contains it, and Prometheus' OTLP receiver would append it.
    /// `Basic` is a metric of a collector that node_exporter runs by default.
    #[must_use]
    pub const fn node_exporter(self, name: &'static str, detail: Detail, attributes: Keys) -> Self {
        Self { node_exporter: Some(Shape { name, unit: "", detail, attributes }), ..self }
    }

    /// A row that only node_exporter has, where it is several metrics there and one here.
    #[must_use]
    pub const fn node(
        id: &'static str,
        kind: Kind,
        number: Number,
        name: &'static str,
        attributes: Keys,
        description: &'static str,
        source: &'static str,
    ) -> Self {
        Self::new(id, kind, number, description, source).node_exporter(name, Detail::Basic, attributes)
    }

    /// Restricts node_exporter's shape to `--detail detailed`.
    #[must_use]
    pub const fn detailed(mut self) -> Self {
        if let Some(shape) = &mut self.node_exporter {
            shape.detail = Detail::Detailed;
        }
        self
    }

    #[must_use]
    pub const fn shape(&self, naming: Naming) -> Option<&Shape> {
        match naming {
            Naming::Semconv => self.semconv.as_ref(),
            Naming::Hostmetrics => self.hostmetrics.as_ref(),
            Naming::NodeExporter => self.node_exporter.as_ref(),
        }
    }
}

/// A label of node_exporter's whose values the host decides.
#[must_use]
pub const fn label(key: &'static str) -> Attribute {
    Attribute { key: Names::both(key), values: &[] }
}

/// The labels of one of node_exporter's series, sorted by key. Prometheus knows no label without a value.
#[must_use]
pub fn labels(pairs: &[(&'static str, String)]) -> Attributes {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let mut set: Vec<KeyValue> =
        pairs.map(|(key, value)| KeyValue::new(Key::from_static_str(key), Arc::<str>::from(value.as_str()))).collect();
    set.sort_by(|a, b| a.key.cmp(&b.key));
    set.into_boxed_slice()
}

/// The attributes of one series, built once and reused every cycle.
pub type Attributes = Box<[KeyValue]>;

/// Builds a series' attributes, sorted by key: the SDK keeps a second map entry for an unsorted set, at 20 % of the
/// CPU of a collection.
#[must_use]
pub fn attributes(naming: Naming, pairs: &[(&Attribute, AttributeValue)]) -> Attributes {
    let mut set: Vec<KeyValue> = pairs
        .iter()
        .map(|(attribute, value)| {
            let value = match value {
                AttributeValue::Word(names) => Value::from(names.of(naming)),
                AttributeValue::Text(text) => Value::String(StringValue::from(Arc::clone(text))),
                AttributeValue::Int(number) => Value::I64(*number),
            };
            KeyValue::new(Key::from_static_str(attribute.key.of(naming)), value)
        })
        .collect();
    set.sort_by(|a, b| a.key.cmp(&b.key));
    set.into_boxed_slice()
}

/// The attributes of one series whose value is from the attribute's fixed set.
#[must_use]
pub fn word(naming: Naming, attribute: &Attribute, names: Names) -> Attributes {
    attributes(naming, &[(attribute, AttributeValue::Word(names))])
}
