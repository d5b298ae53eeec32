use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::reader::MetricReader;
use prometheus_text::{Registry, TextEncoder};

use super::super::Exposition;
use super::*;

const RESOURCE: [(&str, &str); 3] = [("host.name", "web\"1\""), ("host_name", "other"), ("a\\b", "c\nd")];

/// A provider with every kind of instrument, odd texts and odd numbers.
fn provider(reader: impl MetricReader) -> SdkMeterProvider {
    let resource = Resource::builder_empty().with_attributes(RESOURCE.map(|(key, value)| KeyValue::new(key, value)));
    let provider = SdkMeterProvider::builder().with_resource(resource.build()).with_reader(reader).build();
    let meter = provider.meter("a scope");
    let odd = || [KeyValue::new("path.of", "C:\\\"a\"\n/é"), KeyValue::new("unit", 7)];
    meter
        .u64_observable_counter("written_total")
        .with_description("Backslash \\, quote \" and\nnew line")
        .with_callback(move |out| {
            out.observe(u64::MAX, &odd());
            out.observe(0, &[]);
        })
        .build();
    meter.i64_observable_up_down_counter("balance").with_callback(|out| out.observe(-5, &[])).build();
    meter
        .f64_observable_gauge("number")
        .with_callback(move |out| {
            for (place, value) in [0.1, -1.5e-9, 3.0e20].into_iter().enumerate() {
                out.observe(value, &[KeyValue::new("place", place as i64)]);
            }
        })
        .build();
    meter.f64_observable_gauge("empty").build();
    provider
}

/// Series with the value that a reader of the text takes, and the lines of comments.
fn parsed(page: &str) -> Vec<(String, Option<u64>)> {
    let mut lines: Vec<_> = page
        .lines()
        .map(|line| match line.rsplit_once(' ') {
            Some((series, value)) if !line.starts_with('#') => {
                (series.to_owned(), Some(value.parse::<f64>().unwrap().to_bits()))
            }
            _ => (line.to_owned(), None),
        })
        .collect();
    lines.sort();
    lines
}

fn page(target_info: bool) -> String {
    let exposition = Exposition::new(target_info);
    let _provider = provider(exposition.clone());
    String::from_utf8(exposition.collect().unwrap().to_vec()).unwrap()
}

#[test]
fn the_page_is_that_of_the_library_for_it() {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_counter_suffixes()
        .without_units()
        .scope_info_enabled(false)
        .build()
        .unwrap();
    let _provider = provider(reader);
    let theirs = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert_eq!(parsed(&page(true)), parsed(&theirs));
}

#[test]
fn a_page_is_text_that_prometheus_reads() {
    let page = page(false);
    for line in [
        r#"# HELP written_total Backslash \\, quote " and\nnew line"#,
        "# TYPE written_total counter",
        "written_total 0",
        r#"written_total{path_of="C:\\\"a\"\n/é",unit="7"} 18446744073709551615"#,
        "# TYPE balance gauge",
        "balance -5",
        r#"number{place="0"} 0.1"#,
        r#"number{place="1"} -0.0000000015"#,
    ] {
        assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
    }
    assert!(page.ends_with('\n') && !page.contains("target_info"));
}

#[test]
fn values_and_names_that_the_sdk_does_not_let_through_are_as_prometheus_has_them() {
    let written = |write: &dyn Fn(&mut Page)| {
        let mut page = Page(String::new());
        write(&mut page);
        page.0
    };
    assert_eq!(written(&|page| page.double(f64::INFINITY)), "+Inf");
    assert_eq!(written(&|page| page.double(f64::NEG_INFINITY)), "-Inf");
    assert_eq!(written(&|page| page.double(f64::NAN)), "NaN");
    assert_eq!(written(&|page| page.label("9.a")), "key_9_a");
}
