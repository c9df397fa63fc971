# syntax=docker/dockerfile:1
# The version of Rust is that of rust-toolchain.toml.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-bookworm AS build
ARG RUST_VERSION
# Overrides rust-toolchain.toml, whose components (clippy, rustfmt) the build does not need.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
# The crate `ring` compiles C code.
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
# TLS to a database needs the CA certificates.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 atlasent \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/atlasent --shell /usr/sbin/nologin atlasent \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/atlasent
COPY --from=build /out/atlasent /usr/local/bin/atlasent
# A numeric user, so that Kubernetes can check that it is not root.
USER 10001:10001
VOLUME /var/lib/atlasent
EXPOSE 8080
STOPSIGNAL SIGTERM
# Uses bash, because the image has no curl. It cannot check a server with TLS: with `--tls-cert`, pass `--no-healthcheck`, and let
# the orchestrator check /healthz (the process runs) and /readyz (its store answers).
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["atlasent"]
# Arguments of `docker run` replace all of these: repeat `serve`, `--listen` and `--data-dir` there.
CMD ["serve", "--listen", "0.0.0.0:8080", "--data-dir", "/var/lib/atlasent"]
