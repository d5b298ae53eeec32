//! Who this host is: the attributes of the resource (semantic conventions `service.*`, `host.*`, `os.*`).

use std::path::Path;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use uuid::Uuid;

use crate::host::{Host, read_small};
use crate::metrics::parse::text;

/// The schema that names and attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The namespace that the service conventions give for an instance id made from an inherent one.
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);

/// What tells this host from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `/etc/machine-id`, else D-Bus's.
    pub id: Option<String>,
    /// What `hostname` says.
    pub name: Option<String>,
    /// New at every boot.
    pub boot_id: Option<String>,
}

impl Identity {
    /// Reads the host's identity.
    #[must_use]
    pub fn read(host: &Host) -> Self {
        let line = |path: &Path| read_small(path).map(|bytes| text(&bytes)).filter(|text| !text.is_empty());
        let id = line(&host.etc("machine-id")).or_else(|| line(&host.root().join("var/lib/dbus/machine-id")));
        // The kernel tells the name of the namespace we are in. Where the host's root is mounted elsewhere, we are in a
        // container, and its file knows better.
        let kernels = line(&host.proc("sys/kernel/hostname"));
        let files = line(&host.etc("hostname"));
        let name = if host.root() == Path::new("/") { kernels.or(files) } else { files.or(kernels) };
        Self {
            // A machine that is being installed has "uninitialized" in its place.
            id: id.filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())),
            name,
            boot_id: line(&host.proc("sys/kernel/random/boot_id")),
        }
    }

    /// The same for as long as the host is: random only where it has no id.
    #[must_use]
    pub fn instance_id(&self) -> Uuid {
        self.id.as_ref().map_or_else(random_id, |id| Uuid::new_v5(&INSTANCE_NAMESPACE, id.as_bytes()))
    }
}

/// For a host without an id: different at each start.
fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid()
}

/// The resource: what the agent found out, then `overrides`, of which the later ones win.
#[must_use]
pub fn resource(host: &Host, identity: &Identity, overrides: &[(String, String)]) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", identity.instance_id().to_string()),
        KeyValue::new("os.type", "linux"),
        KeyValue::new("host.arch", arch()),
    ];
    let mut add =
        |key: &'static str, value: Option<String>| attributes.extend(value.map(|value| KeyValue::new(key, value)));
    add("host.id", identity.id.clone());
    add("host.name", identity.name.clone());
    let release = ["etc/os-release", "usr/lib/os-release"];
    let release = read_small(&host.etc("os-release"))
        .or_else(|| release.iter().find_map(|path| read_small(&host.root().join(path))));
    let release = release.unwrap_or_default();
    let kernel = read_small(&host.proc("sys/kernel/osrelease")).map(|bytes| text(&bytes));
    add("os.name", release_field(&release, "NAME"));
    add("os.version", release_field(&release, "VERSION_ID"));
    add("os.description", release_field(&release, "PRETTY_NAME"));
    add("os.build_id", release_field(&release, "BUILD_ID").or(kernel));
    attributes.extend(overrides.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_schema_url(attributes, SCHEMA_URL)
        .build()
}

/// A field of an os-release file: `NAME=value`, `NAME="value"` or `NAME='value'`.
pub fn release_field(release: &[u8], name: &str) -> Option<String> {
    let value = crate::metrics::parse::lines(release)
        .find_map(|line| line.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    let unquoted = [b'"', b'\''].iter().find_map(|quote| value.strip_prefix(&[*quote])?.strip_suffix(&[*quote]));
    let value = text(unquoted.unwrap_or(value).trim_ascii());
    (!value.is_empty()).then(|| value.replace("\\\"", "\"").replace("\\$", "$").replace("\\\\", "\\"))
}

/// `host.arch` as the conventions name what the kernel says; an architecture without such a name stands as it is.
fn arch() -> String {
    let uname = rustix::system::uname();
    let machine = text(uname.machine().to_bytes());
    match machine.as_str() {
        "x86_64" => "amd64".to_owned(),
        "aarch64" | "aarch64_be" => "arm64".to_owned(),
        "i386" | "i486" | "i586" | "i686" => "x86".to_owned(),
        "ppc" => "ppc32".to_owned(),
        "ppc64le" => "ppc64".to_owned(),
        arm if arm.starts_with("armv") => "arm32".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Roots;

    fn fixture(name: &str) -> Host {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        Host::new(&Roots { root: Some(root), ..Roots::default() })
    }

    fn value(resource: &Resource, key: &'static str) -> Option<String> {
        resource.get(&opentelemetry::Key::from_static_str(key)).map(|value| value.to_string())
    }

    #[test]
    fn the_instance_id_is_the_same_at_every_start_and_is_not_the_machine_id() {
        let identity = Identity { id: Some("0123456789abcdef0123456789abcdef".to_owned()), ..Identity::default() };
        let id = identity.instance_id();
        assert_eq!(id, identity.clone().instance_id());
        assert_eq!(id.get_version_num(), 5);
        assert_ne!(id.simple().to_string(), "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn without_a_machine_id_the_instance_id_is_random() {
        assert_ne!(Identity::default().instance_id(), Identity::default().instance_id());
    }

    #[test]
    fn the_later_override_wins_over_what_was_found() {
        let host = fixture("server");
        let identity = Identity::read(&host);
        let overrides = [("host.name", "first"), ("service.name", "mine"), ("host.name", "last")];
        let resource = resource(&host, &identity, &overrides.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(value(&resource, "host.name").as_deref(), Some("last"));
        assert_eq!(value(&resource, "service.name").as_deref(), Some("mine"));
        assert_eq!(value(&resource, "telemetry.sdk.language").as_deref(), Some("rust"));
        assert_eq!(value(&resource, "os.type").as_deref(), Some("linux"));
        assert_eq!(value(&resource, "host.id"), identity.id);
    }

    #[test]
    fn os_release_fields_may_be_quoted() {
        let release =
            b"NAME=\"Debian GNU/Linux\"\nVERSION_ID='13'\nID=debian\nEMPTY=\"\"\nPRETTY_NAME=\"A \\\"B\\\"\"\n";
        assert_eq!(release_field(release, "NAME").as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(release_field(release, "VERSION_ID").as_deref(), Some("13"));
        assert_eq!(release_field(release, "ID").as_deref(), Some("debian"));
        assert_eq!(release_field(release, "PRETTY_NAME").as_deref(), Some("A \"B\""));
        assert_eq!(release_field(release, "EMPTY"), None);
        assert_eq!(release_field(release, "VERSION"), None);
    }

    #[test]
    fn a_hostile_host_still_has_a_resource() {
        let host = fixture("hostile");
        let resource = resource(&host, &Identity::read(&host), &[]);
        assert!(value(&resource, "host.arch").is_some());
    }
}
