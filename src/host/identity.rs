//! The host's identity: the resource attributes (semantic conventions `service.*`, `host.*`, `os.*`).

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use rustix::io::Errno;
use uuid::Uuid;

use crate::host::{Host, files, read_small};
use crate::metrics::parse::{lines, text};

/// Schema URL for names and attributes.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Namespace that the service conventions define for an instance id derived from an inherent id.
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The first of `/etc/machine-id`, D-Bus's machine id and the firmware UUID; 32 hexadecimal digits.
    pub id: Option<String>,
    /// The host name, as printed by `hostname`.
    pub name: Option<String>,
    /// Changes at every boot.
    pub boot_id: Option<String>,
}

impl Identity {
    #[must_use]
    pub fn read(host: &Host) -> Self {
        let kernels = || {
            let name = read_small(&host.proc("sys/kernel/hostname")).map(|bytes| text(&bytes));
            name.filter(|name| is_name(name) && host.shares_hostname())
        };
        let files = || name_in_file(&in_root(host, "etc/hostname")?);
        // The kernel returns the host name of this process's namespace. If the host's root is mounted elsewhere, that
        // may be a container's name, so prefer the host's file.
        let name = if host.is_own_root() { kernels().or_else(files) } else { files().or_else(kernels) };
        let machine_id = |path| in_root(host, path).and_then(|bytes| machine_id(&bytes));
        let firmware = || machine_id_of_firmware(&read_small(&host.sys("class/dmi/id/product_uuid"))?);
        Self {
            id: machine_id("etc/machine-id").or_else(|| machine_id("var/lib/dbus/machine-id")).or_else(firmware),
            name,
            boot_id: read_small(&host.proc("sys/kernel/random/boot_id"))
                .map(|bytes| text(&bytes))
                .filter(|id| !id.is_empty()),
        }
    }

    /// Stable as long as the host has an id; otherwise random.
    #[must_use]
    pub fn instance_id(&self) -> Uuid {
        self.id.as_ref().map_or_else(random_id, |id| Uuid::new_v5(&INSTANCE_NAMESPACE, id.as_bytes()))
    }
}

/// Reads a file at this path on the host, trimmed. Links are resolved within the host's root.
fn in_root(host: &Host, path: &str) -> Option<Vec<u8>> {
    let etc = host.etc("");
    let rest = path.strip_prefix("etc/");
    // The directory used as the host's /etc may be anywhere. Its parent is the host's root only if the directory is
    // named etc.
    let root = if etc.ends_with("etc") {
        etc.parent()?
    } else if rest.is_some() {
        &etc
    } else {
        return None;
    };
    let within = if etc.ends_with("etc") { Path::new(path) } else { Path::new(rest?) };
    read_small(&resolve(root, within).ok()?)
}

/// Resolves `path` with `root` as the root directory: links, including absolute ones, are resolved inside it, as
/// openat2(2) does with RESOLVE_IN_ROOT (since Linux 5.6).
///
/// # Errors
/// Errors of readlink(2), and `ELOOP`.
fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    /// The kernel's limit.
    const MOST_LINKS: usize = 40;
    let mut todo: Vec<OsString> = Vec::new();
    let push = |todo: &mut Vec<OsString>, path: &Path| {
        todo.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
    };
    push(&mut todo, path);
    let (mut at, mut links) = (root.to_owned(), 0);
    let mut depth = 0_usize;
    while let Some(part) = todo.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => (at, depth) = (root.to_owned(), 0),
            Some(Component::ParentDir) if depth > 0 => {
                at.pop();
                depth -= 1;
            }
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                match files::read_link(&next) {
                    Ok(target) => {
                        links += 1;
                        if links > MOST_LINKS {
                            return Err(Errno::LOOP.into());
                        }
                        push(&mut todo, &target);
                    }
                    // Not a symbolic link.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => (at, depth) = (next, depth + 1),
                    Err(error) => return Err(error),
                }
            }
            _ => {}
        }
    }
    Ok(at)
}

/// Parses a hostname(5) file: its first line that is not a comment.
fn name_in_file(bytes: &[u8]) -> Option<String> {
    let mut names = lines(bytes).map(|line| text(line.trim_ascii())).filter(|line| !line.starts_with('#'));
    names.find(|name| is_name(name))
}

/// The kernel uses `(none)` for an unset name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "(none)"
}

/// Parses a machine-id(5) file: 32 hexadecimal digits; some tools add dashes. During installation it contains
/// "uninitialized" or is empty.
fn machine_id(bytes: &[u8]) -> Option<String> {
    let id: String = text(bytes.trim_ascii()).chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    // A repeated single digit is a placeholder.
    (is_id && id.bytes().any(|b| Some(&b) != id.as_bytes().first())).then_some(id)
}

/// The firmware's UUID (DMI, readable by root), unless it is a vendor's placeholder that many machines share.
fn machine_id_of_firmware(bytes: &[u8]) -> Option<String> {
    const PLACEHOLDER: &str = "03000200040005000006000700080009";
    machine_id(bytes).filter(|id| id != PLACEHOLDER)
}

/// A random id for a host without an id; it changes at each start.
fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid()
}

/// The agent's resource: service, host, then `overrides`; later ones override earlier ones.
#[must_use]
pub fn resource(host: &Host, identity: &Identity, overrides: &[(String, String)]) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", identity.instance_id().to_string()),
    ];
    attributes.extend(attributes_of(host, identity));
    attributes.extend(overrides.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_schema_url(attributes, SCHEMA_URL)
        .build()
}

/// The host's resource attributes: `host.*` and `os.*`.
#[must_use]
pub fn attributes_of(host: &Host, identity: &Identity) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("os.type", "linux"), KeyValue::new("host.arch", arch())];
    let mut add =
        |key: &'static str, value: Option<String>| attributes.extend(value.map(|value| KeyValue::new(key, value)));
    add("host.id", identity.id.clone());
    add("host.name", identity.name.clone());
    let (release, kernel) = host.within("the name of the operating system", os_release).unwrap_or_default();
    add("os.name", release_field(&release, "NAME"));
    add("os.version", release_field(&release, "VERSION_ID"));
    add("os.description", release_field(&release, "PRETTY_NAME"));
    add("os.build_id", release_field(&release, "BUILD_ID").or_else(|| kernel.clone()));
    // os.build_id is the kernel's release only on distributions without a BUILD_ID. The conventions have no attribute for
    // the kernel yet; this is the proposed name (semantic-conventions#66).
    add("os.kernel.release", kernel);
    attributes
}

/// The content of the host's os-release file, and the kernel release.
#[must_use]
pub fn os_release(host: &Host) -> (Vec<u8>, Option<String>) {
    let release = in_root(host, "etc/os-release").or_else(|| in_root(host, "usr/lib/os-release"));
    (release.unwrap_or_default(), read_small(&host.proc("sys/kernel/osrelease")).map(|bytes| text(&bytes)))
}

/// A field of an os-release file: `NAME=value`, `NAME="value"` or `NAME='value'`. As in a shell, the last assignment is
/// used.
pub fn release_field(release: &[u8], name: &str) -> Option<String> {
    let value =
        lines(release).filter_map(|line| line.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")).last()?;
    let unquoted = [b'"', b'\''].iter().find_map(|quote| value.strip_prefix(&[*quote])?.strip_suffix(&[*quote]));
    let value = text(unquoted.unwrap_or(value).trim_ascii());
    (!value.is_empty()).then(|| value.replace("\\\"", "\"").replace("\\$", "$").replace("\\\\", "\\"))
}

/// `host.arch` with the value defined by the conventions; other architectures keep the kernel's name.
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
    fn the_release_of_the_kernel_is_there_beside_the_build_of_the_distribution() {
        for (release, build) in [("NAME=a\nBUILD_ID=rolling\n", "rolling"), ("NAME=a\n", "6.12.1-arch1-1")] {
            let (_dir, host) = made(&[("etc/os-release", release), ("proc/sys/kernel/osrelease", "6.12.1-arch1-1\n")]);
            let resource = resource(&host, &Identity::default(), &[]);
            assert_eq!(value(&resource, "os.build_id").as_deref(), Some(build));
            assert_eq!(value(&resource, "os.kernel.release").as_deref(), Some("6.12.1-arch1-1"));
        }
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

    /// Creates a host from `(path, content)`; a content that starts with `->` is a link target.
    fn made(entries: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in entries {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content.strip_prefix("->") {
                Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                None => std::fs::write(path, content).unwrap(),
            }
        }
        let host = Host::new(&Roots { root: Some(dir.path().to_owned()), ..Roots::default() });
        (dir, host)
    }

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn links_below_the_root_path_are_resolved_inside_it() {
        let (_nixos, host) = made(&[
            ("etc/os-release", "->/nix/store/x-os/etc/os-release"),
            ("nix/store/x-os/etc/os-release", "NAME=NixOS\n"),
            ("etc/machine-id", "->/data/etc/machine-id"),
            ("data/etc", "->../persistent/../persistent"),
            ("persistent/machine-id", ID),
            ("etc/hostname", "->../../../../../run/hostname"),
            ("run/hostname", "nix01\n"),
        ]);
        let identity = Identity::read(&host);
        assert_eq!((identity.id.as_deref(), identity.name.as_deref()), (Some(ID), Some("nix01")));
        assert_eq!(value(&resource(&host, &identity, &[]), "os.name").as_deref(), Some("NixOS"));
    }

    #[test]
    fn a_link_never_leads_to_a_file_of_this_machine_and_one_that_leads_to_itself_ends() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("id"), ID).unwrap();
        let link = format!("->{}", outside.path().join("id").display());
        let (_dir, host) = made(&[("etc/machine-id", &link), ("etc/hostname", "->hostname")]);
        assert_eq!(Identity::read(&host), Identity::default());
    }

    #[test]
    fn the_directory_that_stands_for_etc_brings_its_neighbours_only_if_it_is_named_so() {
        let (dir, _host) = made(&[("etc/os-release", "->../usr/lib/os-release"), ("usr/lib/os-release", "NAME=a\n")]);
        let at = |etc: &str| {
            let roots = Roots { root: Some("/no/such".into()), etc: Some(dir.path().join(etc)), ..Roots::default() };
            value(&resource(&Host::new(&roots), &Identity::default(), &[]), "os.name")
        };
        assert_eq!(at("etc").as_deref(), Some("a"));
        std::fs::rename(dir.path().join("etc"), dir.path().join("other")).unwrap();
        assert_eq!(at("other"), None);
    }

    #[test]
    fn comments_and_none_are_no_names() {
        for (file, kernel, name) in [
            ("# set by hand\n\n  web01  \nweb02\n", "pod-7", Some("web01")),
            ("# none\n", "web03\n", Some("web03")),
            ("(none)\n", "(none)\n", None),
            ("", "", None),
        ] {
            let (_dir, host) = made(&[("etc/hostname", file), ("proc/sys/kernel/hostname", kernel)]);
            assert_eq!(Identity::read(&host).name.as_deref(), name, "{file:?}");
        }
    }

    #[test]
    fn without_a_usable_machine_id_the_next_source_is_tried() {
        const OTHER: &str = "fedcba9876543210fedcba9876543210";
        const DASHES: &str = "01234567-89AB-CDEF-0123-456789abcdef\n";
        for (etc, dbus, firmware, id) in [
            (ID, OTHER, OTHER, Some(ID)),
            (DASHES, OTHER, OTHER, Some(ID)),
            ("", ID, OTHER, Some(ID)),
            ("uninitialized\n", ID, OTHER, Some(ID)),
            ("00000000000000000000000000000000\n", ID, OTHER, Some(ID)),
            ("short", "", DASHES, Some(ID)),
            ("", "", "03000200-0400-0500-0006-000700080009", None),
            ("", "", "Not Settable", None),
        ] {
            let (_dir, host) = made(&[
                ("etc/machine-id", etc),
                ("var/lib/dbus/machine-id", dbus),
                ("sys/class/dmi/id/product_uuid", firmware),
            ]);
            assert_eq!(Identity::read(&host).id.as_deref(), id, "{etc:?} {dbus:?} {firmware:?}");
        }
    }

    #[test]
    fn of_a_key_that_is_given_twice_the_last_one_counts() {
        let release = b"NAME=first\n# NAME=comment\nNAME=\"last\"\nVERSION_ID=1\n";
        assert_eq!(release_field(release, "NAME").as_deref(), Some("last"));
    }
}
