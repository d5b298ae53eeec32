# Starts a container engine for one test; scripts source this file. It has its own network and mount namespaces, so that it does not
# affect another engine, and its data is in $work. No image is pulled: images are made from binaries of this machine.
# Needs root, docker and dockerd.

engine=

engine_start() {
    # Mounts are shared, as under systemd; otherwise docker refuses rslave. The classic builder, because buildx may not be installed.
    export DOCKER_HOST="unix://$work/docker.sock" DOCKER_BUILDKIT=0
    unshare --mount --propagation shared --net sh -c 'ip link set lo up && exec "$@"' sh \
        dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
        > "$work/dockerd.log" 2>&1 &
    engine=$!
    for _ in $(seq 600); do
        docker info > /dev/null 2>&1 && return
        kill -0 $engine 2> /dev/null || break
        sleep 0.3
    done
    tail -5 "$work/dockerd.log" >&2
    echo "engine: dockerd does not start" >&2
    return 1
}

# Published ports can be reached only from the engine's network namespace.
in_engine() { nsenter --target "$engine" --net "$@"; }

engine_stop() {
    [ -n "$engine" ] || return 0
    kill "$engine" 2> /dev/null || true
    wait "$engine" || true
    engine=
}

# image_of NAME BINARY TAG: makes an image of one program and the libraries that it needs.
image_of() {
    mkdir -p "$work/$1/root/tmp"
    install -D "$2" "$work/$1/root/bin/$1"
    for library in $(ldd "$2" 2> /dev/null | grep -o '/[^ ]*'); do
        install -D "$library" "$work/$1/root$library"
    done
    printf 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/bin/%s"]\n' "$1" > "$work/$1/Dockerfile"
    docker build --quiet --tag "$3" "$work/$1" > /dev/null 2>&1
}
