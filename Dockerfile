# An image with only a static binary: no shell, no package manager, no root user. Without a registry to pull the image for building
# from, packaging/container/build makes the same image with a binary that was built on the host.
FROM rust:1.95-bookworm AS build
# The commit for --version, because .git is not in the build context: --build-arg HEKA_COMMIT=$(git rev-parse HEAD).
ARG HEKA_COMMIT
WORKDIR /src
COPY . .
RUN binary=$(HEKA_COMMIT="$HEKA_COMMIT" packaging/build-static) \
 && packaging/release/licences static > /THIRD-PARTY-LICENSES \
 && HEKA_BINARY=$binary HEKA_LICENCES=/THIRD-PARTY-LICENSES packaging/container/layout /

# From here on as in packaging/container/Dockerfile.
FROM scratch
COPY --from=build /image/ /
# For an outbox (--outbox-dir, HEKA_OUTBOX_DIR). A new volume that is mounted here gets the owner of this directory.
COPY --from=build --chown=65534:65534 /state/ /var/lib/heka-insights-agent/
USER 65534:65534
ENTRYPOINT ["/heka-insights-agent"]
