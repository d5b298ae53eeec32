//! TCP sockets by state and their queues, as in node_exporter's tcpstat collector; only with `--detail detailed`.

use super::super::connections::Connections;
use super::super::{Collector, Definition, Observer};
use crate::host::Reader;
use crate::metrics::naming::Kind::Gauge;
use crate::metrics::naming::Number::Int;
use crate::metrics::naming::{Attribute, Metric, label};

pub const DEFINITION: Definition = Definition {
    name: "network",
    metrics: METRICS,
    new: |context| Box::new(TcpStates(Connections::new(context, METRICS))),
};

const STATE: Attribute = label("state");

#[rustfmt::skip] // a table
const METRICS: &[Metric] = &[
    Metric::node("connections", Gauge, Int, "node_tcp_connection_states", &[&STATE],
        "TCP sockets in each state, and what is in their queues", "netlink, sock_diag").detailed(),
];

struct TcpStates(Connections);

impl Collector for TcpStates {
    fn read(&mut self, reader: &mut Reader) {
        self.0.read(reader);
    }

    fn observe(&self, metric: &Metric, out: &mut Observer<'_>) {
        self.0.observe(metric.id, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Options;
    use super::super::super::testing::{Host, series};
    use super::*;
    use crate::metrics::naming::{Detail, Naming};

    #[test]
    fn states_without_sockets_are_left_out_and_the_queues_are_there() {
        let host = Host::empty();
        let options = Options { naming: Naming::NodeExporter, detail: Detail::Detailed, ..Options::default() };
        let mut context = host.context(options);
        context.host.calls.sockets = |_| Ok([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 9, 0, 123]);
        let mut collector = (DEFINITION.new)(&context);
        assert_eq!(host.read(&mut *collector), 0);
        assert_eq!(
            series(&*collector, METRICS, "connections"),
            ["state=established 4", "state=listen 2", "state=rx_queued_bytes 0", "state=tx_queued_bytes 123"]
        );
    }
}
