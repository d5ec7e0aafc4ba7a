# Builds with the toolchain's own Debian, runs on the same Debian without anything else in it.
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY tests tests
COPY crates crates
RUN cargo build --release --locked -p getlockd

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/getlockd /usr/local/bin/getlockd
# Beyond loopback, and so it wants GETLOCKD_USERS, or GETLOCKD_OPEN=true: docs/security.md.
ENV GETLOCKD_LINE=0.0.0.0:3305
ENV GETLOCKD_MYSQL=0.0.0.0:3307
ENV GETLOCKD_HTTP=0.0.0.0:3308
EXPOSE 3305 3307 3308
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=1s CMD ["/usr/local/bin/getlockd", "ping"]
ENTRYPOINT ["/usr/local/bin/getlockd"]
