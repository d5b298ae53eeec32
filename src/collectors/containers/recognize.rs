//! Recognizes containers: runtime, id and pod are derived only from the cgroup path.
//!
//! | runtime | systemd driver | cgroupfs driver |
//! |---|---|---|
//! | Docker | `docker-ID.scope` | `docker/ID`, `moby/ID` |
//! | containerd | `cri-containerd-ID.scope`, `nerdctl-ID.scope` | `default/ID` |
//! | CRI-O | `crio-ID.scope` | `crio-ID` |
//! | any in Kubernetes | | `kubepods/…/podUID/ID` |
//! | Podman | `libpod-ID.scope`, `libpod-payload-ID` | `libpod_parent/libpod-ID` |
//! | LXC, LXD, Incus | `lxc.payload.NAME` | `lxc/NAME` |
//! | systemd-nspawn | `systemd-nspawn@NAME.service`, `machine-NAME.scope` | |
//!
//! `default` and `moby` are namespaces of containerd: its own, and that of Docker. In Kubernetes with the cgroupfs driver,
//! containerd and cri-dockerd use the same path, so the runtime is unknown.
//!
//! The helper processes of a runtime (`crio-conmon-ID.scope`, `libpod-conmon-ID.scope`) and virtual machines
//! (`machine-qemu…`) are not containers.

use std::borrow::Cow;

/// A container, as described by its cgroup path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// The runtime's id of 64 hexadecimal digits, or the name if the runtime has only names (LXC, systemd-nspawn).
    pub id: Cow<'a, str>,
    /// The runtime, if the path identifies it.
    pub runtime: Option<&'static str>,
    /// Whether the id is the name.
    pub named: bool,
}

/// A Kubernetes pod, as described by a component of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The pod's UID with dashes.
    pub uid: String,
}

/// The quality-of-service class of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Requests equal limits.
    Guaranteed,
    /// Some requests.
    Burstable,
    /// No requests.
    BestEffort,
}

impl Qos {
    /// The class of a pod with this cgroup path. Guaranteed pods have no directory of their own.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if path.contains("besteffort") {
            Self::BestEffort
        } else if path.contains("burstable") {
            Self::Burstable
        } else {
            Self::Guaranteed
        }
    }

    /// The name in Kubernetes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The name of Podman.
pub const PODMAN: &str = "podman";

/// Prefixes of unit names and the runtime that uses them.
const SCOPES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-payload-", PODMAN),
    ("libpod-", PODMAN),
];

/// The container with the cgroup `name` below a cgroup named `parent`; `None` if it is not a container.
#[must_use]
pub fn container<'a>(parent: &str, name: &'a str) -> Option<Container<'a>> {
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    for (prefix, runtime) in SCOPES {
        if let Some(id) = stem.strip_prefix(prefix) {
            return is_id(id).then(|| Container { id: id.into(), runtime: Some(runtime), named: false });
        }
    }
    if is_id(name) {
        let runtime = match parent {
            "docker" | "moby" => Some("docker"),
            "default" => Some("containerd"),
            parent if pod(parent).is_some() => None,
            _ => return None,
        };
        return Some(Container { id: name.into(), runtime, named: false });
    }
    let named = |id, runtime| Some(Container { id, runtime: Some(runtime), named: true });
    if let Some(payload) = name.strip_prefix("lxc.payload.") {
        return named(payload.into(), "lxc");
    }
    if parent == "lxc" || parent == "lxc.payload" {
        return named(name.into(), "lxc");
    }
    if let Some(instance) = name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")) {
        return named(unescape(instance), "systemd-nspawn");
    }
    let machine = stem.strip_prefix("machine-").filter(|_| name.ends_with(".scope"))?;
    let machine = unescape(machine);
    if machine.starts_with("qemu-") {
        return None;
    }
    match machine.strip_prefix("lxc-") {
        Some(lxc) => named(lxc.to_owned().into(), "lxc"),
        None => named(machine, "systemd-nspawn"),
    }
}

/// The pod with the cgroup `name`: `podUID`, or `kubepods-burstable-podUID.slice` with `_` for `-`.
#[must_use]
pub fn pod(name: &str) -> Option<Pod> {
    let stem = match name.strip_suffix(".slice") {
        Some(unit) => unit.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let uid = stem.replace('_', "-");
    let hexadecimal = uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    // The UID of a static pod is a hash of 32 digits without dashes.
    (uid.len() >= 32 && hexadecimal).then_some(Pod { uid })
}

/// Whether the text is 64 hexadecimal digits, the id format of all OCI runtimes.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Decodes systemd's `\x2d` escapes of bytes that a unit name cannot contain.
pub fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains("\\x") {
        return name.into();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        match escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = escape.get(2..).unwrap_or_default();
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";

    fn of(path: &str) -> Option<(String, Option<&'static str>)> {
        let path = path.replace("ID", ID);
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = parent.rsplit_once('/').map_or(parent, |(_, last)| last);
        container(parent, name).map(|found| (found.id.into_owned(), found.runtime))
    }

    #[test]
    fn each_runtime_is_recognized_under_both_drivers() {
        for (path, runtime) in [
            ("system.slice/docker-ID.scope", "docker"),
            ("docker/ID", "docker"),
            ("moby/ID", "docker"),
            ("default/ID", "containerd"),
            (
                "kubepods.slice/kubepods-pod0f1e2d3c_aaaa_bbbb_cccc_000000000001.slice/cri-containerd-ID.scope",
                "containerd",
            ),
            ("kubepods/burstable/pod0f1e2d3c-aaaa-bbbb-cccc-000000000001/ID", ""),
            ("system.slice/nerdctl-ID.scope", "containerd"),
            ("kubepods.slice/kubepods-pod0f1e2d3c_aaaa_bbbb_cccc_000000000001.slice/crio-ID.scope", "cri-o"),
            ("kubepods/pod0f1e2d3c-aaaa-bbbb-cccc-000000000001/crio-ID", "cri-o"),
            ("machine.slice/libpod-ID.scope", "podman"),
            ("system.slice/web.service/libpod-payload-ID", "podman"),
            ("libpod_parent/libpod-ID", "podman"),
        ] {
            let runtime = Some(runtime).filter(|runtime| !runtime.is_empty());
            assert_eq!(of(path), Some((ID.to_owned(), runtime)), "{path}");
        }
    }

    #[test]
    fn a_container_without_an_id_has_its_name() {
        for (path, name, runtime) in [
            ("/lxc.payload.web", "web", "lxc"),
            ("lxc/web", "web", "lxc"),
            ("machine.slice/systemd-nspawn@debian.service", "debian", "systemd-nspawn"),
            (r"machine.slice/machine-my\x2dbox.scope", "my-box", "systemd-nspawn"),
            (r"machine.slice/machine-lxc\x2d1234\x2dweb.scope", "1234-web", "lxc"),
        ] {
            assert_eq!(of(path), Some((name.to_owned(), Some(runtime))), "{path}");
        }
    }

    #[test]
    fn helpers_virtual_machines_and_services_are_no_containers() {
        for path in [
            "machine.slice/libpod-conmon-ID.scope",
            "system.slice/crio-conmon-ID.scope",
            r"machine.slice/machine-qemu\x2d1\x2dvm.scope",
            "system.slice/docker.service",
            "user.slice/user-1000.slice",
            "system.slice/ID",
            "other/ID",
            "lxc.monitor.web/ID",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn a_pods_uid_and_class_are_read_under_both_drivers() {
        let uid = "0f1e2d3c-aaaa-bbbb-cccc-000000000001";
        for name in [
            "kubepods-burstable-pod0f1e2d3c_aaaa_bbbb_cccc_000000000001.slice",
            "pod0f1e2d3c-aaaa-bbbb-cccc-000000000001",
        ] {
            assert_eq!(pod(name), Some(Pod { uid: uid.to_owned() }), "{name}");
        }
        for name in ["podman", "kubepods-burstable.slice", "pods", "pod", "podium-pod.slice"] {
            assert_eq!(pod(name), None, "{name}");
        }
        assert_eq!(Qos::of_path("kubepods.slice/kubepods-besteffort.slice/x"), Qos::BestEffort);
        assert_eq!(Qos::of_path("kubepods/burstable/x"), Qos::Burstable);
        assert_eq!(Qos::of_path("kubepods/x"), Qos::Guaranteed);
    }

    #[test]
    fn an_escape_that_is_cut_short_stays() {
        assert_eq!(unescape(r"a\x2db"), "a-b");
        assert_eq!(unescape(r"a\x2"), r"a\x2");
        assert_eq!(unescape(r"a\xzzb"), r"a\xzzb");
    }
}
