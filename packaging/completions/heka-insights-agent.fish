complete -c heka-insights-agent -l exporter -d 'Where metrics go: otlp, prometheus (an HTTP endpoint to scrape), console, none [default: otlp] [env: OTEL_METRICS_EXPORTER; OTEL_SDK_DISABLED=true is none]' -r
complete -c heka-insights-agent -l listen -d 'Address that --exporter prometheus listens on, HOST:PORT or :PORT for all interfaces [default: localhost:9464] [env: OTEL_EXPORTER_PROMETHEUS_HOST, OTEL_EXPORTER_PROMETHEUS_PORT]' -r
complete -c heka-insights-agent -l console-format -d 'How the console prints: table, json (one object a cycle, raw numbers) [default: table] [env: HEKA_CONSOLE_FORMAT]' -r
complete -c heka-insights-agent -l interval -d 'Time between two collections, 100ms to 1h, such as 500ms, 10s, 1m [default: 10s] [env: OTEL_METRIC_EXPORT_INTERVAL (ms), CPU_POLL_INTERVAL_SECONDS (s, fractions allowed)]' -r
complete -c heka-insights-agent -l endpoint -d 'Collector or backend: http://HOST:PORT, https://HOST:PORT or unix:/PATH; over HTTP /v1/metrics is appended unless it is there [default: http://localhost:4317, over HTTP :4318] [env: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT (over HTTP taken as it is), OTEL_EXPORTER_OTLP_ENDPOINT; without a scheme OTEL_EXPORTER_OTLP_[METRICS_]INSECURE decides]' -r
complete -c heka-insights-agent -l protocol -d 'grpc, http/protobuf [default: grpc; http/protobuf where the endpoint\'s port is 4318 or its path ends in /v1/metrics] [env: OTEL_EXPORTER_OTLP_[METRICS_]PROTOCOL]' -r
complete -c heka-insights-agent -l header -d 'A header of every request, such as api-key=SECRET; repeat for more. Replaces those of the variables [env: OTEL_EXPORTER_OTLP_[METRICS_]HEADERS (K=V,K=V, percent-encoded)]' -r
complete -c heka-insights-agent -l headers-file -d 'A file with one K=V a line, for secrets; read again when it changes, and wins over the same header elsewhere [env: HEKA_HEADERS_FILE]' -r
complete -c heka-insights-agent -l compression -d 'none, gzip [default: none] [env: OTEL_EXPORTER_OTLP_[METRICS_]COMPRESSION]' -r
complete -c heka-insights-agent -l timeout -d 'Bound on one request, connecting included, above 0; a collection never waits that long [default: 10s] [env: OTEL_EXPORTER_OTLP_[METRICS_]TIMEOUT (ms)]' -r
complete -c heka-insights-agent -l ca-file -d 'PEM file of the authorities to trust [default: the system\'s] [env: OTEL_EXPORTER_OTLP_[METRICS_]CERTIFICATE]' -r
complete -c heka-insights-agent -l cert-file -d 'PEM file of the client certificate, with --key-file [env: OTEL_EXPORTER_OTLP_[METRICS_]CLIENT_CERTIFICATE]' -r
complete -c heka-insights-agent -l key-file -d 'PEM file of the client\'s private key, with --cert-file [env: OTEL_EXPORTER_OTLP_[METRICS_]CLIENT_KEY]' -r
complete -c heka-insights-agent -l temporality -d 'cumulative (totals), delta (differences), lowmemory (as cumulative) [default: cumulative] [env: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE]' -r
complete -c heka-insights-agent -l outbox-dir -d 'Directory that keeps what an outage holds up, over restarts and power cuts [default: in memory; under systemd its STATE_DIRECTORY] [env: HEKA_OUTBOX_DIR]' -r
complete -c heka-insights-agent -l outbox-max-size -d 'Most bytes it keeps, at least 64KiB; the oldest go first [default: 64MiB on disk, 4MiB in memory] [env: HEKA_OUTBOX_MAX_SIZE]' -r
complete -c heka-insights-agent -l outbox-max-age -d 'Oldest data it keeps, at least 1s [default: 24h] [env: HEKA_OUTBOX_MAX_AGE]' -r
complete -c heka-insights-agent -l collectors -d 'Collectors to collect, separated by commas, of those that `check` lists [default: all] [env: HEKA_COLLECTORS]' -r
complete -c heka-insights-agent -l detail -d 'basic, detailed [default: basic] [env: HEKA_DETAIL]' -r
complete -c heka-insights-agent -l naming -d 'Names of metrics and attributes: semconv, hostmetrics (those of the Collector\'s receiver), node_exporter (those of Prometheus\' node_exporter, with its default filters, one series per CPU and totals since boot) [default: semconv] [env: HEKA_NAMING]' -r
complete -c heka-insights-agent -l counters-since -d 'start: counters count from the agent\'s start, as the start time they carry says. boot: the kernel\'s own totals, to compare with /proc; a backend that uses start times adds the whole uptime again at every restart, and delta temporality refuses it [default: start; boot with --exporter console or prometheus and with --naming node_exporter] [env: HEKA_COUNTERS_SINCE]' -r
complete -c heka-insights-agent -l disk-scope -d 'device: one series per disk. total: one over the physical disks [default: device; the console shows both] [env: HEKA_DISK_SCOPE]' -r
complete -c heka-insights-agent -l disk-include -d 'Disks to report instead of the whole physical ones, by regular expression on the name; repeat for more [env: HEKA_DISK_INCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l disk-exclude -d 'Disks to leave out [env: HEKA_DISK_EXCLUDE]' -r
complete -c heka-insights-agent -l filesystem-include -d 'File systems to report instead of the disk-backed ones, one mount per device; by regular expression on the mount point [env: HEKA_FILESYSTEM_INCLUDE]' -r
complete -c heka-insights-agent -l filesystem-exclude -d 'File systems to leave out [env: HEKA_FILESYSTEM_EXCLUDE]' -r
complete -c heka-insights-agent -l network-include -d 'Network interfaces to report instead of all but lo, veth* and cali*; by regular expression on the name [env: HEKA_NETWORK_INCLUDE]' -r
complete -c heka-insights-agent -l network-exclude -d 'Network interfaces to leave out [env: HEKA_NETWORK_EXCLUDE]' -r
complete -c heka-insights-agent -l max-series -d 'Most series a metric may have, at least 1; what is cut is counted and said once [default: 2000, or what the host\'s CPUs and disks need] [env: HEKA_MAX_SERIES]' -r
complete -c heka-insights-agent -l self-metrics -d 'on: the agent also sends its own cost, and what it sent and lost. off: only the host\'s metrics [default: on] [env: HEKA_SELF_METRICS]' -r
complete -c heka-insights-agent -l service-name -d 'Service name of the resource [default: heka-insights-agent] [env: OTEL_SERVICE_NAME]' -r
complete -c heka-insights-agent -l resource-attribute -d 'A resource attribute; repeat for more. Wins over what the agent found out [env: OTEL_RESOURCE_ATTRIBUTES (K=V,K=V, percent-encoded)]' -r
complete -c heka-insights-agent -l root-path -d 'The host\'s root directory, for an agent in a container [default: /] [env: HEKA_ROOT_PATH; HOST_PROC, HOST_SYS, HOST_ETC win for theirs]' -r
complete -c heka-insights-agent -l log-level -d 'error, warn, info, debug, trace, off, or targets as in RUST_LOG; to standard error [default: info] [env: RUST_LOG, OTEL_LOG_LEVEL]' -r
complete -c heka-insights-agent -l log-format -d 'text, json [default: text] [env: HEKA_LOG_FORMAT]' -r
complete -c heka-insights-agent -l once -d 'Collect once, send or print it, and exit'
complete -c heka-insights-agent -l no-phase -d 'Start at once, not at this host\'s own phase of the interval [default: wait, with the console start at once] [env: HEKA_NO_PHASE=true]'
complete -c heka-insights-agent -l per-cpu -d 'CPU series per logical CPU instead of for the whole host [env: HEKA_PER_CPU=true]'
complete -c heka-insights-agent -s h -l help -d 'Print help'
complete -c heka-insights-agent -s V -l version -d 'Print version'
