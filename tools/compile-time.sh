#!/usr/bin/env bash
#
# Measures the compile time of an annotation, in milliseconds per function, for `#[atlasent::protect]`,
# `#[tracing::instrument]` and `protect-axum`'s `#[protect]`.
#
# usage: tools/compile-time.sh [check|build] [functions] [runs]
#
# Generates a crate of 500 small async functions for each annotation, and one crate of the same functions without an
# annotation. Builds the dependencies first, unmeasured. Then runs `cargo check` (or `cargo build`) on each crate, without
# incremental compilation, in turns, so that other load on the machine affects all crates. The best of 10 runs counts,
# since noise only adds time. The cost of an annotation is the time of its crate minus the time of the crate without
# annotations, divided by the number of functions. It includes loading the crate of the annotation once.
#
# Needs bash 5, cargo, and the crates.io registry. Writes to a temporary directory only.

set -euo pipefail

command=${1:-check}
functions=${2:-500}
runs=${3:-10}

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

crates=(bare atlasent tracing protect-axum)

# crate NAME DEPENDENCIES ATTRIBUTE PARAMETERS PRELUDE
crate() {
    local name=$1 dependencies=$2 attribute=$3 parameters=$4 prelude=$5
    mkdir -p "$scratch/$name/src"
    cat >"$scratch/$name/Cargo.toml" <<END
[package]
name = "$name-leaf"
version = "0.0.0"
edition = "2024"

[dependencies]
$dependencies
END
    {
        printf '%s\n' 'pub struct TooMuch;' "$prelude"
        for ((n = 0; n < functions; n++)); do
            printf '%s\n' \
                "$attribute" \
                "pub async fn transfer_$n(amount: u64$parameters) -> Result<u64, TooMuch> {" \
                "    let total = amount.checked_add($n).ok_or(TooMuch)?;" \
                '    Ok(total)' \
                '}'
        done
    } >"$scratch/$name/src/lib.rs"
}

crate bare '' '' '' ''
crate atlasent "atlasent = { path = '$repository/atlasent' }" \
    '#[atlasent::protect(action = "transfer", agent = "billing-bot")]' ', _permit: atlasent::Permit' \
    'impl From<atlasent::Error> for TooMuch { fn from(_: atlasent::Error) -> Self { Self } }'
crate tracing 'tracing = "0.1"' '#[tracing::instrument]' '' ''
crate protect-axum 'axum = { version = "0.8", default-features = false }
protect-axum = "0.2"' \
    '#[protect_axum::protect("TRANSFER")]' '' ''

cp -- "$repository/rust-toolchain.toml" "$repository/Cargo.lock" "$scratch/"
cat >"$scratch/Cargo.toml" <<END
[workspace]
resolver = "3"
members = [$(printf '"%s", ' "${crates[@]}")]
END
cd -- "$scratch"
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$scratch/target

compile() {
    cargo "$command" --quiet --package "$1-leaf"
}

# best[NAME] and worst of all runs, in microseconds.
declare -A best
for name in "${crates[@]}"; do
    compile "$name"
done
for ((run = 0; run < runs; run++)); do
    for name in "${crates[@]}"; do
        touch "$name/src/lib.rs"
        start=${EPOCHREALTIME/[^0-9]/}
        compile "$name"
        took=$((${EPOCHREALTIME/[^0-9]/} - start))
        if [[ -z ${best[$name]-} ]] || ((took < best[$name])); then
            best[$name]=$took
        fi
    done
done

printf '%s of %d functions, best of %d runs\n\n' "cargo $command" "$functions" "$runs"
printf '%-14s %10s %14s\n' crate 'total, ms' 'ms / function'
for name in "${crates[@]}"; do
    awk -v name="$name" -v took="${best[$name]}" -v bare="${best[bare]}" -v functions="$functions" \
        'BEGIN { printf "%-14s %10.0f %14.3f\n", name, took / 1000, (took - bare) / functions / 1000 }'
done
