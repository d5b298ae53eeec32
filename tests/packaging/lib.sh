# What the scripts of this directory share, for them to source; `test` is the script's name in its lines, `work` its directory.

# shellcheck disable=SC2034 # for the scripts
name=heka-insights-agent
processes=

say() { echo "$test: ok, $*"; }

# A script that has more to show defines this again.
evidence() { tail -n 5 "$work"/*.log; }

fail() {
    echo "$test: $*" >&2
    evidence >&2 2> /dev/null || true
    exit 1
}

# alone ARGUMENT...: the script in namespaces of its own, so that every port is free. Its processes end with the first of their
# namespace, the script, whatever becomes of it.
alone() {
    [ -n "${HEKA_INSIDE:-}" ] ||
        HEKA_INSIDE=1 exec unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
    ip link set lo up
}

# until_true WHAT COMMAND...: within 90 s.
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

# background LOG COMMAND...: until the script ends.
background() {
    log_of=$1
    shift
    "$@" > "$work/$log_of.log" 2>&1 < /dev/null &
    processes="$processes $!"
}

background_stop() {
    for process in $processes; do
        kill "$process" 2> /dev/null || true
        # Without the shell's line of a process that was ended: the last line is to be the script's.
        { wait "$process" || true; } 2> /dev/null
    done
    processes=
}

# For servers in another namespace: a command that runs its arguments there.
visit=
answers() { $visit curl -sf -o /dev/null "$1"; }

# mirror DIRECTORY PORT: a web server of its files.
mirror() {
    background "mirror$2" python3 -m http.server --bind 127.0.0.1 --directory "$1" "$2"
    until_true "a mirror of $1" answers "http://127.0.0.1:$2/"
}

# collector [GRPC_PORT HTTP_PORT]: the Collector of OTELCOL, with the repository's configuration.
collector() {
    background collector $visit env OTLP_GRPC_ENDPOINT="127.0.0.1:${1:-4317}" OTLP_HTTP_ENDPOINT="127.0.0.1:${2:-4318}" \
        HEALTH_ENDPOINT=127.0.0.1:13133 PROMETHEUS_OTLP_ENDPOINT=http://127.0.0.1:9 \
        "$OTELCOL" --config=otel-collector-config.yaml
    until_true "the Collector" answers http://127.0.0.1:13133/
}

# documented COMMAND [PAGE]: only what the page says is done; the command as it is a line of docs/install.md, or in another page's table.
documented() {
    if [ $# = 1 ]; then grep -qxF -- "$1" docs/install.md; else grep -qF -- "$1" "$2"; fi || fail "${2:-docs/install.md} does not say: $1"
}

# in_time WHAT: since $begun, from nothing to a `check` that ends with 0 against a Collector. HEKA_INSTALL_SECONDS: a longer limit, for a
# machine that is busy with other things.
in_time() {
    took=$(($(date +%s) - begun))
    [ $took -le "${HEKA_INSTALL_SECONDS:-300}" ] || fail "$1 took $took s, more than five minutes"
    say "$1: check ends with 0 against a Collector, after $took s"
}
