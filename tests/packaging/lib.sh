# Functions that the scripts of this directory share. A script sources this file and sets `test`, its name in log lines, and `work`, its
# directory for temporary files.

# shellcheck disable=SC2034 # the scripts use it
name=heka-insights-agent
processes=

say() { echo "$test: ok, $*"; }

# Printed after a failure. A script can replace this function.
evidence() { tail -n 5 "$work"/*.log; }

fail() {
    echo "$test: $*" >&2
    evidence >&2 2> /dev/null || true
    exit 1
}

# alone ARGUMENT...: runs the script again in its own namespaces, in which every port is free. All its processes end when the script
# ends, for whatever reason, because it is the first process of its namespace.
alone() {
    [ -n "${HEKA_INSIDE:-}" ] ||
        HEKA_INSIDE=1 exec unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
    ip link set lo up
}

# until_true WHAT COMMAND...: repeats the command until it succeeds, for at most 90 s.
until_true() {
    what=$1
    shift
    until=$(($(date +%s) + 90))
    while [ "$(date +%s)" -lt $until ]; do
        "$@" && return
        sleep 0.2
    done
    fail "not within 90 s: $what"
}

# background LOG COMMAND...: runs the command until the script ends.
background() {
    log_of=$1
    shift
    "$@" > "$work/$log_of.log" 2>&1 < /dev/null &
    processes="$processes $!"
}

background_stop() {
    for process in $processes; do
        kill "$process" 2> /dev/null || true
        # The shell's message about an ended process is discarded, so that the last line is the script's.
        { wait "$process" || true; } 2> /dev/null
    done
    processes=
}

# For servers in another namespace: a command that runs its arguments in that namespace.
visit=
answers() { $visit curl -sf -o /dev/null "$1"; }

# mirror DIRECTORY PORT: starts a web server for the files of the directory.
mirror() {
    background "mirror$2" python3 -m http.server --bind 127.0.0.1 --directory "$1" "$2"
    until_true "a mirror of $1" answers "http://127.0.0.1:$2/"
}

# collector [GRPC_PORT HTTP_PORT]: starts the Collector of OTELCOL with the repository's configuration.
collector() {
    background collector $visit env OTLP_GRPC_ENDPOINT="127.0.0.1:${1:-4317}" OTLP_HTTP_ENDPOINT="127.0.0.1:${2:-4318}" \
        HEALTH_ENDPOINT=127.0.0.1:13133 PROMETHEUS_OTLP_ENDPOINT=http://127.0.0.1:9 \
        "$OTELCOL" --config=otel-collector-config.yaml
    until_true "the Collector" answers http://127.0.0.1:13133/
}

# documented COMMAND [PAGE]: fails unless the command is a line of docs/install.md, or is in a table of PAGE. So the tests run only commands
# that the documents contain.
documented() {
    if [ $# = 1 ]; then grep -qxF -- "$1" docs/install.md; else grep -qF -- "$1" "$2"; fi || fail "${2:-docs/install.md} does not say: $1"
}

# in_time WHAT: fails if the installation, from $begun to a `check` that exits with 0 against a Collector, took more than five minutes.
# HEKA_INSTALL_SECONDS: another limit, for a busy machine.
in_time() {
    took=$(($(date +%s) - begun))
    [ $took -le "${HEKA_INSTALL_SECONDS:-300}" ] || fail "$1 took $took s, more than five minutes"
    say "$1: check ends with 0 against a Collector, after $took s"
}
