# A static binary on nothing: no shell, no package manager, no root. Without a registry to pull the builder from,
# packaging/container/build makes the same image around a binary that was built on the host.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# With --target, the flags are for the program alone and not for the build scripts and macros of this machine.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
 && mkdir -p /image/etc/ssl/certs /image/var/lib/heka-insights-agent \
 && cp "target/$target/release/heka-insights-agent" /image/ \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && chown 65534:65534 /image/var/lib/heka-insights-agent

# From here on as in packaging/container/Dockerfile.
FROM scratch
COPY --from=build /image/ /
USER 65534:65534
ENTRYPOINT ["/heka-insights-agent"]
