# Three stages: the dependencies, which change seldom; the program; and an
# image with nothing in it but the program.
#
# Certificates of authorities are not copied in: the program carries those that
# browsers trust (webpki-roots), for the key sets that it fetches.

# Any image with Rust and a C compiler will do; on Alpine it links musl.
ARG RUST_IMAGE=docker.io/library/rust:1.95-alpine
FROM ${RUST_IMAGE} AS dependencies
WORKDIR /src
# Static everywhere. Cargo keeps this from procedural macros, which it could
# not link, only where a target is named, even the host's own.
ENV CARGO_TARGET_DIR=/target \
    RUSTFLAGS="-C target-feature=+crt-static"
COPY Cargo.toml Cargo.lock ./
# Members of the workspace, all of which cargo wants to see.
COPY bench/Cargo.toml bench/Cargo.toml
COPY crates/client/Cargo.toml crates/client/Cargo.toml
COPY crates/core/Cargo.toml crates/core/Cargo.toml
COPY crates/testing/Cargo.toml crates/testing/Cargo.toml
COPY crates/verify/Cargo.toml crates/verify/Cargo.toml
# An empty program with the real one's dependencies: this layer is rebuilt
# only when one of them changes. No cargo-chef: for one package it would do the
# same, after minutes of building itself.
RUN mkdir -p src/bin bench/src examples \
        crates/client/src crates/core/src crates/testing/src crates/verify/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs src/bin/shuttle.rs bench/src/lib.rs \
        crates/client/src/lib.rs crates/core/src/lib.rs \
        crates/testing/src/lib.rs crates/verify/src/lib.rs \
        examples/shuttle_axum.rs \
    && cargo build --release --locked --bin hookrill --target "$(rustc --print host-tuple)" \
    && rm -r src crates/*/src

FROM dependencies AS program
COPY crates crates
COPY src src
COPY build.rs build.rs
# What `hookrill --version` names; there is no repository in here to ask.
ARG HOOKRILL_COMMIT=""
ARG HOOKRILL_COMMIT_DATE=""
# The files' times may be older than those of the empty program.
RUN touch src/main.rs src/lib.rs crates/*/src/lib.rs \
    && cargo build --release --locked --bin hookrill --target "$(rustc --print host-tuple)" \
    && mkdir -p /image/data /image/backup \
    && cp /target/*/release/hookrill /image/hookrill

FROM scratch
LABEL org.opencontainers.image.title="Hookrill" \
      org.opencontainers.image.description="Turns signed webhooks into live, resumable Server-Sent Events" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
# Root's, so that the program cannot change itself.
COPY --from=program /image/hookrill /hookrill
# A named volume begins as a copy of this, with its owner.
COPY --from=program --chown=65532:65532 /image/data /data
# For the volume that backups go to.
COPY --from=program --chown=65532:65532 /image/backup /backup
ENV HOOKRILL__SERVER__LISTEN=0.0.0.0:8080 \
    HOOKRILL__JOURNAL__PATH=/data
USER 65532:65532
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/hookrill", "health"]
ENTRYPOINT ["/hookrill"]
CMD ["serve"]
