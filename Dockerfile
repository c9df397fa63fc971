# syntax=docker/dockerfile:1
# The version of Rust is that of rust-toolchain.toml.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-bookworm AS build
ARG RUST_VERSION
# Comes before rust-toolchain.toml, whose components (clippy, rustfmt) no build needs.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
# `ring` has parts in C.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release -p atlasent-cli \
    && install -D -m 0755 target/release/atlasent /out/atlasent

FROM debian:bookworm-slim
# The certificates are for TLS to a database.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 atlasent \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/atlasent --shell /usr/sbin/nologin atlasent \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/atlasent
COPY --from=build /out/atlasent /usr/local/bin/atlasent
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
VOLUME /var/lib/atlasent
EXPOSE 8080
STOPSIGNAL SIGTERM
# By bash, for there is no curl. It speaks no TLS: with `--tls-cert` take `--no-healthcheck`, and let the orchestrator ask
# /healthz (is it alive) and /readyz (does its store answer).
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["atlasent"]
# Arguments of `docker run` take the place of all of these: repeat `serve`, `--listen` and `--data-dir` with them.
CMD ["serve", "--listen", "0.0.0.0:8080", "--data-dir", "/var/lib/atlasent"]
