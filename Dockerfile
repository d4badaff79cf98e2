# Three stages: the dependencies, which change seldom; the program; and an
# image with nothing in it but the program.

ARG RUST_IMAGE=docker.io/library/rust:1.95-alpine
FROM ${RUST_IMAGE} AS dependencies
# For aws-lc-rs and mimalloc, which are C. Whatever version the base has.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base cmake perl
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# A member of the workspace, which cargo wants to see; it is not built.
COPY bench/Cargo.toml bench/Cargo.toml
# An empty program with the real one's dependencies: this layer is built anew
# only when one of them changes.
RUN mkdir -p src/bin bench/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs src/bin/shuttle.rs bench/src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

FROM dependencies AS program
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && mkdir -p /image/data \
    && cp target/release/hookrill /image/hookrill

FROM scratch
LABEL org.opencontainers.image.title="Hookrill" \
      org.opencontainers.image.description="Turns signed webhooks into live, resumable Server-Sent Events" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=program --chown=65532:65532 /image /
ENV HOOKRILL__SERVER__LISTEN=0.0.0.0:8080 \
    HOOKRILL__JOURNAL__PATH=/data
USER 65532:65532
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/hookrill", "health"]
ENTRYPOINT ["/hookrill"]
CMD ["serve"]
