//! How many series a metric may have on this host.
//!
//! The SDK folds what is over an instrument's limit into one overflow series, and makes room for the limit in advance:
//! too low loses data, too high costs memory. So it is what the host's CPUs and disks need with room for more of them,
//! and where all attributes have fixed values it is the number of their combinations.

use super::{Context, DEFAULT_MAX_SERIES, metrics, selected};
use crate::host::{Host, read_small};
use crate::naming::Shape;
use crate::parse::lines;

/// The most series a metric may have on this host.
#[must_use]
pub fn max_series(context: &Context) -> usize {
    context.options.max_series.unwrap_or_else(|| needed(&context.host))
}

/// Modes of a CPU's time in the profile that has most.
const MODES: usize = 8;
/// Read and write.
const DIRECTIONS: usize = 2;

fn needed(host: &Host) -> usize {
    let largest = (cpus(host) * MODES).max(disks(host) * DIRECTIONS);
    // A quarter more, for CPUs that come online and disks that are plugged in.
    DEFAULT_MAX_SERIES.max(largest + largest / 4)
}

fn cpus(host: &Host) -> usize {
    let is_cpu = |line: &&[u8]| line.strip_prefix(b"cpu").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit);
    read_small(&host.proc("stat")).map_or(0, |stat| lines(&stat).filter(is_cpu).count())
}

fn disks(host: &Host) -> usize {
    std::fs::read_dir(host.sys("block")).map_or(0, Iterator::count)
}

/// The limit of each instrument by its name, for a view of the SDK.
pub fn by_instrument(context: &Context) -> impl Fn(&str) -> usize + use<> {
    let most = max_series(context);
    let naming = context.options.naming;
    let limits: Vec<(&'static str, usize)> = selected(&context.options)
        .flat_map(|family| metrics(family, &context.options))
        .filter_map(|metric| metric.shape(naming))
        .filter_map(|shape| Some((shape.name, combinations(shape)?)))
        .collect();
    move |name| limits.iter().find(|(known, _)| *known == name).map_or(most, |(_, limit)| most.min(*limit))
}

/// The series that a metric can have at most, where no attribute's value is the host's to choose.
fn combinations(shape: &Shape) -> Option<usize> {
    let values = shape.attributes.iter().map(|attribute| attribute.values.len());
    Some(values.product::<usize>()).filter(|combinations| *combinations > 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Host as TestHost;
    use super::super::{FAMILIES, Options};
    use super::*;
    use crate::naming::Naming;

    fn host(cpus: usize, disks: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let stat: String = (0..cpus).map(|cpu| format!("cpu{cpu} 1 2 3 4\n")).collect();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/stat"), format!("cpu  1 2 3 4\n{stat}intr 1 2 3\n")).unwrap();
        for disk in 0..disks {
            std::fs::create_dir_all(dir.path().join(format!("sys/block/sd{disk}"))).unwrap();
        }
        dir
    }

    fn limit(dir: &tempfile::TempDir, max_series: Option<usize>) -> usize {
        let roots = crate::host::Roots { root: Some(dir.path().to_owned()), ..Default::default() };
        let options = Options { max_series, ..Options::default() };
        super::max_series(&Context { host: Host::new(&roots), options })
    }

    #[test]
    fn a_small_host_has_the_sdks_own_limit_and_a_large_one_what_it_needs_and_a_quarter_more() {
        assert_eq!(limit(&host(2, 4), None), DEFAULT_MAX_SERIES);
        assert_eq!(limit(&host(512, 4), None), 512 * 8 * 5 / 4);
        assert_eq!(limit(&host(2, 2_000), None), 2_000 * 2 * 5 / 4);
    }

    #[test]
    fn what_was_asked_for_is_the_limit_whatever_the_host_needs() {
        assert_eq!(limit(&host(512, 4), Some(100)), 100);
    }

    #[test]
    fn an_instrument_whose_series_are_known_has_room_for_exactly_these() {
        for naming in [Naming::Semconv, Naming::Hostmetrics] {
            let context = TestHost::fixture("server").context(Options { naming, ..Options::default() });
            let limit = by_instrument(&context);
            for family in FAMILIES {
                for shape in metrics(family, &context.options).filter_map(|metric| metric.shape(naming)) {
                    let fixed = shape.attributes.iter().all(|attribute| !attribute.values.is_empty());
                    let expected = shape.attributes.iter().map(|attribute| attribute.values.len()).product();
                    assert_eq!(limit(shape.name), if fixed { expected } else { DEFAULT_MAX_SERIES }, "{}", shape.name);
                }
            }
            assert_eq!(limit("some.other"), DEFAULT_MAX_SERIES);
        }
    }
}
