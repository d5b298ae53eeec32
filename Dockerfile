# A static binary on nothing: no shell, no package manager, no root. Without a registry to pull the builder from,
# packaging/container/build makes the same image around a binary that was built on the host.
FROM rust:1.95-bookworm AS build
# The commit for --version, since .git stays outside: --build-arg HEKA_COMMIT=$(git rev-parse HEAD).
ARG HEKA_COMMIT
WORKDIR /src
COPY . .
RUN binary=$(HEKA_COMMIT="$HEKA_COMMIT" packaging/build-static) \
 && packaging/release/licences static > /THIRD-PARTY-LICENSES \
 && HEKA_BINARY=$binary HEKA_LICENCES=/THIRD-PARTY-LICENSES packaging/container/layout /

# From here on as in packaging/container/Dockerfile.
FROM scratch
COPY --from=build /image/ /
# The outbox, where one is asked for: --outbox-dir, HEKA_OUTBOX_DIR. A volume takes over its owner.
COPY --from=build --chown=65534:65534 /state/ /var/lib/heka-insights-agent/
USER 65534:65534
ENTRYPOINT ["/heka-insights-agent"]
