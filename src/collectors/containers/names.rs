//! Names of containers that are visible to any user.
//!
//! The kubelet links each container's log as `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`. Podman's helper
//! process `conmon` has the name in its command line. Docker stores names in files that only root can read. A name is
//! looked up when a container is first seen and, since the link is made after that, in the next few collections until it
//! is found.

use crate::host::cgroups::Visited;
use crate::host::{Host, files};
use crate::metrics::parse::{lines, number};

/// The kubelet's links, listed on first use in a collection.
pub(super) struct Logs<'a> {
    host: &'a Host,
    listed: Option<Vec<String>>,
}

impl<'a> Logs<'a> {
    pub(super) fn new(host: &'a Host) -> Self {
        Self { host, listed: None }
    }

    /// The names of the pod, its namespace and the container with this id.
    pub(super) fn names(&mut self, id: &str) -> Option<[&str; 3]> {
        let list = || {
            let names = files::list(&self.host.root().join("var/log/containers")).unwrap_or_default();
            names.into_iter().filter_map(|name| name.into_string().ok()).collect()
        };
        let end = format!("-{id}.log");
        let link = self.listed.get_or_insert_with(list).iter().find_map(|name| name.strip_suffix(&end))?;
        // None of the three names can contain an underscore.
        let mut parts = link.split('_');
        let names = [parts.next()?, parts.next()?, parts.next()?];
        parts.next().is_none().then_some(names)
    }
}

/// The name of a Podman container, from the command line of `conmon` in the scope next to the container's.
pub(super) fn of_conmon(host: &Host, visited: &Visited<'_>) -> Option<String> {
    let id = visited.name.strip_prefix("libpod-")?;
    let parent = visited.path.strip_suffix(visited.name)?;
    let conmon = host.sys("fs/cgroup").join(format!("{parent}libpod-conmon-{id}/cgroup.procs"));
    let pid = lines(&files::read_small(&conmon)?).find_map(number)?;
    let command = files::read_small(&host.proc(&format!("{pid}/cmdline")))?;
    let mut arguments = command.split(|&byte| byte == 0);
    arguments.find(|argument| *argument == b"-n")?;
    String::from_utf8(arguments.next()?.to_vec()).ok()
}
