complete -c heka-insights-agent -l exporter -d 'Destination of the metrics: otlp, prometheus (an HTTP endpoint to scrape), console, none [default: otlp] [env: OTEL_METRICS_EXPORTER]' -r -f -a "otlp\t''
prometheus\t'an HTTP endpoint to scrape'
console\t''
none\t''"
complete -c heka-insights-agent -l listen -d 'Address that --exporter prometheus listens on: HOST:PORT, [IPV6]:PORT or :PORT for all interfaces [default: localhost:9464]' -r
complete -c heka-insights-agent -l console-format -d 'Output of the console: table, json (one object per collection, raw numbers) [default: table] [env: HEKA_CONSOLE_FORMAT]' -r -f -a "table\t''
json\t'one object per collection, raw numbers'"
complete -c heka-insights-agent -l interval -d 'Time between two collections: 100ms to 1h with its unit, such as 500ms, 10s, 1m [default: 10s] [env: HEKA_INTERVAL, OTEL_METRIC_EXPORT_INTERVAL (milliseconds), CPU_POLL_INTERVAL_SECONDS (seconds, may have a fraction)]' -r
complete -c heka-insights-agent -l env-file -d 'File with NAME=VALUE lines, read instead of .env; its variables take precedence over the environment [env: HEKA_ENV_FILE]' -r
complete -c heka-insights-agent -l endpoint -d 'Collector or backend: http://HOST:PORT, https://HOST:PORT, unix:/PATH (gRPC only); over HTTP, /v1/metrics is appended unless the path ends in it or the URL is from OTEL_EXPORTER_OTLP_METRICS_ENDPOINT [default: http://localhost:4317, over HTTP http://localhost:4318] [env: OTEL_EXPORTER_OTLP_[METRICS_]ENDPOINT]' -r
complete -c heka-insights-agent -l protocol -d 'Protocol: grpc, http/protobuf [default: grpc; http/protobuf if the endpoint\'s port is 4318 or its path ends in /v1/metrics] [env: OTEL_EXPORTER_OTLP_[METRICS_]PROTOCOL]' -r -f -a "grpc\t''
http/protobuf\t''"
complete -c heka-insights-agent -l header -d 'Header of every request: NAME=VALUE or \'NAME: VALUE\' (NAME of letters, digits, - _ and . only, VALUE of printable ASCII); replaces the headers of the variables; can be repeated [env: OTEL_EXPORTER_OTLP_[METRICS_]HEADERS (K=V,K=V, percent-encoded)]' -r
complete -c heka-insights-agent -l headers-file -d 'File with one header per line, for secrets; takes precedence over the same header elsewhere and is read again when it changes [env: HEKA_HEADERS_FILE]' -r
complete -c heka-insights-agent -l compression -d 'Compression of requests: none, gzip [default: none] [env: OTEL_EXPORTER_OTLP_[METRICS_]COMPRESSION]' -r -f -a "none\t''
gzip\t''"
complete -c heka-insights-agent -l timeout -d 'Time limit of one request, including the connection: a duration above 0 with its unit, such as 10s (the variables: whole milliseconds); collections do not wait for requests [default: 10s] [env: OTEL_EXPORTER_OTLP_[METRICS_]TIMEOUT (milliseconds)]' -r
complete -c heka-insights-agent -l ca-file -d 'PEM file with the certificate authorities to trust [default: the system\'s] [env: OTEL_EXPORTER_OTLP_[METRICS_]CERTIFICATE]' -r
complete -c heka-insights-agent -l cert-file -d 'PEM file with the client certificate; needs --key-file [env: OTEL_EXPORTER_OTLP_[METRICS_]CLIENT_CERTIFICATE]' -r
complete -c heka-insights-agent -l key-file -d 'PEM file with the client\'s private key; needs --cert-file [env: OTEL_EXPORTER_OTLP_[METRICS_]CLIENT_KEY]' -r
complete -c heka-insights-agent -l temporality -d 'Values of counters: cumulative (totals), delta (differences), lowmemory (same as cumulative here) [default: cumulative] [env: OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE]' -r -f -a "cumulative\t'totals'
delta\t'differences'
lowmemory\t'same as cumulative here'"
complete -c heka-insights-agent -l outbox-dir -d 'Directory for undelivered batches; survives restarts and power loss [default: in memory] [env: HEKA_OUTBOX_DIR, STATE_DIRECTORY (its subdirectory outbox; set by systemd)]' -r
complete -c heka-insights-agent -l outbox-max-size -d 'Maximum size: at least 64KiB, such as 512KiB, 64MiB, 1GiB; the oldest batches are dropped first [default: 64MiB on disk, 4MiB in memory] [env: HEKA_OUTBOX_MAX_SIZE]' -r
complete -c heka-insights-agent -l outbox-max-age -d 'Maximum age of a batch: at least 1s with its unit, such as 30m, 24h, 7d; older ones are dropped [default: 24h] [env: HEKA_OUTBOX_MAX_AGE]' -r
complete -c heka-insights-agent -l collectors -d 'Collectors to run, separated by commas; the command check lists them [default: all] [env: HEKA_COLLECTORS]' -r
complete -c heka-insights-agent -l detail -d 'Amount of metrics: basic, detailed [default: basic] [env: HEKA_DETAIL]' -r -f -a "basic\t''
detailed\t''"
complete -c heka-insights-agent -l naming -d 'Names of metrics and attributes: semconv (OpenTelemetry semantic conventions), hostmetrics (the Collector\'s hostmetrics receiver), node_exporter (Prometheus\' node_exporter, with its default filters, one series per CPU and totals since boot) [default: semconv] [env: HEKA_NAMING]' -r -f -a "semconv\t'OpenTelemetry semantic conventions'
hostmetrics\t'the Collector\'s hostmetrics receiver'
node_exporter\t'Prometheus\' node_exporter, with its default filters, one series per CPU and totals since boot'"
complete -c heka-insights-agent -l counters-since -d 'Origin of the counters: start (the agent\'s start), boot (the kernel\'s own totals, as in /proc); with boot, a backend that uses start times adds the whole uptime again at every restart; cannot be combined with delta temporality [default: start; boot with --exporter console or prometheus and with --naming node_exporter] [env: HEKA_COUNTERS_SINCE]' -r -f -a "start\t'the agent\'s start'
boot\t'the kernel\'s own totals, as in /proc'"
complete -c heka-insights-agent -l disk-scope -d 'Disk series: device (one series per disk), total (one series for all physical disks) [default: device; the console shows both] [env: HEKA_DISK_SCOPE]' -r -f -a "device\t'one series per disk'
total\t'one series for all physical disks'"
complete -c heka-insights-agent -l disk-include -d 'Disks to report instead of the physical ones; a regular expression on the name; can be repeated [env: HEKA_DISK_INCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l disk-exclude -d 'Disks to leave out; can be repeated [env: HEKA_DISK_EXCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l filesystem-include -d 'File systems to report instead of the disk-backed ones, one mount per device; a regular expression on the mount point; can be repeated [env: HEKA_FILESYSTEM_INCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l filesystem-exclude -d 'File systems to leave out; can be repeated [env: HEKA_FILESYSTEM_EXCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l network-include -d 'Network interfaces to report instead of all but lo, veth* and cali*; a regular expression on the name; can be repeated [env: HEKA_NETWORK_INCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l network-exclude -d 'Network interfaces to leave out; can be repeated [env: HEKA_NETWORK_EXCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l top-processes -d 'Report this many of the largest processes by CPU time, and as many by memory: a whole number from 0 to 100; see docs/cardinality.md for the number of series [default: 0] [env: HEKA_TOP_PROCESSES]' -r
complete -c heka-insights-agent -l service-include -d 'Units that get series of their own, instead of all units; a regular expression on the name, such as nginx\\.service; can be repeated [env: HEKA_SERVICE_INCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l service-exclude -d 'Units that get no series of their own; systemd.unit.count still includes them; can be repeated [env: HEKA_SERVICE_EXCLUDE (separated by commas)]' -r
complete -c heka-insights-agent -l textfile-dir -d 'Directory with *.prom files in Prometheus\' text format, whose metrics are reported [default: none] [env: HEKA_TEXTFILE_DIR]' -r
complete -c heka-insights-agent -l max-series -d 'Maximum number of series per metric: a whole number from 1 to 100000; extra series are dropped, counted and logged once [default: 2000, or more if the host\'s CPUs and disks need it] [env: HEKA_MAX_SERIES]' -r
complete -c heka-insights-agent -l self-metrics -d 'Metrics about the agent (its cost, sent and lost data points): on, detailed (per collector and per reason), off [default: on] [env: HEKA_SELF_METRICS]' -r -f -a "on\t''
detailed\t'per collector and per reason'
off\t''"
complete -c heka-insights-agent -l service-name -d 'service.name of the resource [default: heka-insights-agent] [env: OTEL_SERVICE_NAME]' -r
complete -c heka-insights-agent -l resource-attribute -d 'Resource attribute; takes precedence over the detected ones: K=V; can be repeated [env: OTEL_RESOURCE_ATTRIBUTES (K=V,K=V, percent-encoded; merged with the flags)]' -r
complete -c heka-insights-agent -l root-path -d 'Root directory of the host, for an agent in a container [default: /] [env: HEKA_ROOT_PATH]' -r
complete -c heka-insights-agent -l log-level -d 'Log level, to standard error: error, warn, info, debug, trace, off, or targets such as info,h2=debug [default: info] [env: RUST_LOG, OTEL_LOG_LEVEL]' -r
complete -c heka-insights-agent -l log-format -d 'Format of log lines: text, json [default: text] [env: HEKA_LOG_FORMAT]' -r -f -a "text\t''
json\t''"
complete -c heka-insights-agent -l once -d 'Collect once, send or print the result, and exit'
complete -c heka-insights-agent -l no-phase -d 'Start the first collection at once instead of at this host\'s offset in the interval, which is derived from the host\'s id so that hosts do not send at the same time [default: at the offset; at once with the console and prometheus] [env: HEKA_NO_PHASE (true or false)]'
complete -c heka-insights-agent -l phase -d 'Undoes --no-phase and its variable'
complete -c heka-insights-agent -l per-cpu -d 'CPU series per logical CPU instead of for the whole host [default: off; always on with --naming node_exporter] [env: HEKA_PER_CPU (true or false)]'
complete -c heka-insights-agent -l no-per-cpu -d 'Undoes --per-cpu and its variable'
complete -c heka-insights-agent -l process-command-lines -d 'Add the command line to each reported process; command lines can hold secrets [default: off] [env: HEKA_PROCESS_COMMAND_LINES (true or false)]'
complete -c heka-insights-agent -l no-process-command-lines -d 'Undoes --process-command-lines and its variable'
complete -c heka-insights-agent -l send -d 'Send one real collection instead of an empty export'
complete -c heka-insights-agent -l json -d 'Print the result as one JSON object'
complete -c heka-insights-agent -s h -l help -d 'Print help'
complete -c heka-insights-agent -s V -l version -d 'Print version'
