//! Two network namespaces for one test, connected by a virtual cable that can be cut without notice to either end.
//!
//! To cut the cable, both neighbor tables get a wrong hardware address: packets are sent, but nobody receives them.
//! There is no reset, no ICMP error and no loss of carrier, as with a failed firewall or radio link.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nobody's hardware address.
const NOBODY: &str = "02:00:00:00:0d:0d";

/// One end: a namespace and what is in it.
pub struct End {
    namespace: String,
    /// Addresses for documentation (RFC 5737); the host never sees them.
    address: &'static str,
    hardware: &'static str,
}

/// The agent's end and the Collector's.
pub struct Network {
    pub agent: End,
    pub collector: End,
}

impl Network {
    /// Both namespaces, connected. Fails with one line where the host does not let us make them.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("heka-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let network = Self {
            agent: End { namespace: format!("{name}-a"), address: "192.0.2.1", hardware: "02:00:00:00:0a:01" },
            collector: End { namespace: format!("{name}-c"), address: "192.0.2.2", hardware: "02:00:00:00:0a:02" },
        };
        let (here, there) = (&network.agent.namespace, &network.collector.namespace);
        ip(&format!("netns add {here}"));
        ip(&format!("netns add {there}"));
        ip(&format!("-n {here} link add cable type veth peer name cable netns {there}"));
        for End { namespace, address, hardware } in [&network.agent, &network.collector] {
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} link set cable address {hardware} up"));
            ip(&format!("-n {namespace} address add {address}/24 dev cable"));
        }
        network.heal();
        network
    }

    /// From now on packets vanish, both ways.
    pub fn cut(&self) {
        self.agent.peer_is_at(self.collector.address, NOBODY);
        self.collector.peer_is_at(self.agent.address, NOBODY);
    }

    /// They arrive again.
    pub fn heal(&self) {
        self.agent.peer_is_at(self.collector.address, self.collector.hardware);
        self.collector.peer_is_at(self.agent.address, self.agent.hardware);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for end in [&self.agent, &self.collector] {
            let _ = Command::new("ip").args(["netns", "del", &end.namespace]).output();
        }
    }
}

impl End {
    pub fn address(&self) -> &'static str {
        self.address
    }

    /// `program` with this end's network and an empty environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "env", "-i"]).arg(program);
        command
    }

    fn peer_is_at(&self, address: &str, hardware: &str) {
        ip(&format!("-n {} neighbour replace {address} lladdr {hardware} dev cable nud permanent", self.namespace));
    }
}

fn ip(arguments: &str) {
    let run = Command::new("ip").args(arguments.split(' ')).output();
    let run = run.unwrap_or_else(|error| panic!("this test needs iproute2: ip cannot be started: {error}"));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "this test needs to make network namespaces (root): ip {arguments}: {}", said.trim());
}
