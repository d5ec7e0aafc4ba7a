# Builds static binaries and puts them on a base that may be anything: they need no loader and no libc. Both bases are
# arguments, for those who have a registry of their own.
ARG BUILD_IMAGE=docker.io/library/rust:1-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
# `dev` builds faster.
ARG PROFILE=release
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY tests tests
COPY crates crates
COPY packaging/install packaging/static packaging/
RUN PROFILE=${PROFILE} packaging/static /out && mkdir -p -m 0700 /out/state/getlockd

FROM ${BASE_IMAGE}
ARG VERSION
LABEL org.opencontainers.image.title="getlockd" \
      org.opencontainers.image.description="A lock server: MySQL's GET_LOCK family without MySQL" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/bin/ /usr/local/bin/
# Beyond loopback, and so it wants GETLOCKD_USERS, or GETLOCKD_OPEN=true: docs/security.md.
ENV GETLOCKD_LINE=0.0.0.0:3305
ENV GETLOCKD_MYSQL=0.0.0.0:3307
ENV GETLOCKD_HTTP=0.0.0.0:3308
EXPOSE 3305 3307 3308
# For a volume with the lease store: --store /var/lib/getlockd/leases. The file system of a container is an overlay, which
# the server refuses. A new volume has the owner of this folder.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=1s CMD ["/usr/local/bin/getlockd", "ping"]
ENTRYPOINT ["/usr/local/bin/getlockd"]
