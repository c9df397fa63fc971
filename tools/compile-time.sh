#!/usr/bin/env bash
#
# Measures what annotations and policies cost when a program is built and started. Prints three tables:
#
#   1. The compile time of an annotation, in milliseconds per function: `#[atlasent::protect]` without a policy index and
#      with one, `#[tracing::instrument]`, and `protect-axum`'s `#[protect]`.
#   2. The time of a build script that calls `atlasent_build::policies` for 10 and for 1,000 policies.
#   3. What the sites of a program cost before `main`, in instructions.
#
# usage: tools/compile-time.sh [check|build] [functions] [runs]
#
# 1. Generates a crate of 500 small async functions for each annotation, and one of the same functions without an
#    annotation. Each annotation records the argument: `context = { amount }` here, a field of the span in `tracing`. The
#    index declares 100 actions. Builds the dependencies first, unmeasured. Then runs `cargo check` (or `cargo build`) on
#    each crate, without incremental compilation, in turns, so that other load on the machine affects all crates. The
#    cost of an annotation is the time of its crate minus that of the bare crate, divided by the number of functions. It
#    includes loading the crate of the annotation once. The median of 10 runs counts. The time of the processor
#    suffers less from other load than the time of the clock, and is more than it where the compiler uses several cores.
# 2. Runs the compiled build script by itself. It is not optimized, as build scripts are not.
# 3. Runs a program with as many sites as functions, and one with a single site, under valgrind, where it is installed.
#
# Needs bash 5, cargo, and the crates.io registry. Writes to a temporary directory only.

set -euo pipefail

command=${1:-check}
functions=${2:-500}
runs=${3:-10}

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

crates=(bare unchecked checked tracing protect-axum)
programs=(sites-1 "sites-$functions")
policy_counts=(10 1000)

# manifest NAME DEPENDENCIES: starts a package.
manifest() {
    mkdir -p "$scratch/$1/src"
    cat >"$scratch/$1/Cargo.toml" <<END
[package]
name = "$1-leaf"
version = "0.0.0"
edition = "2024"

[dependencies]
$2
END
}

# with_policies NAME: gives a package a build script that checks its policies.
with_policies() {
    printf '[build-dependencies]\natlasent-build = { path = "%s/atlasent-build" }\n' "$repository" \
        >>"$scratch/$1/Cargo.toml"
    printf 'fn main() { atlasent_build::policies("policies"); }\n' >"$scratch/$1/build.rs"
}

# policies NAME COUNT: writes policies for up to 100 actions, and their schema.
policies() {
    local folder=$scratch/$1/policies count=$2 n
    mkdir -p "$folder"
    {
        printf 'entity Agent, Resource;\n'
        for ((n = 0; n < count && n < 100; n++)); do
            printf 'action "transfer_%d" appliesTo { principal: Agent, resource: Resource, context: { amount: Long } };\n' "$n"
        done
    } >"$folder/schema.cedarschema"
    for ((n = 0; n < count; n++)); do
        printf '@id("policy-%d")\npermit (principal == Agent::"bot-%d", action == Action::"transfer_%d", resource)\nwhen { context.amount < %d };\n' \
            "$n" "$n" $((n % 100)) $((n + 1)) >>"$folder/transfers-$((n / 10)).cedar"
    done
}

# source NAME FILE ATTRIBUTE PARAMETERS PRELUDE COUNT: writes functions. `@` in the attribute is the number of an action.
source_file() {
    local name=$1 file=$2 attribute=$3 parameters=$4 prelude=$5 count=$6 n
    {
        printf '%s\n' 'pub struct TooMuch;' "$prelude"
        for ((n = 0; n < count; n++)); do
            printf '%s\n' \
                "${attribute//@/$((n % 100))}" \
                "pub async fn transfer_$n(amount: u64$parameters) -> Result<u64, TooMuch> {" \
                "    let total = amount.checked_add($n).ok_or(TooMuch)?;" \
                '    Ok(total)' \
                '}'
        done
    } >"$scratch/$name/src/$file"
}

atlasent="atlasent = { path = '$repository/atlasent' }"
protect='#[atlasent::protect(action = "transfer_@", agent = "billing-bot", context = { amount })]'
permit=', _permit: atlasent::Permit'
refusal='impl From<atlasent::Error> for TooMuch { fn from(_: atlasent::Error) -> Self { Self } }'

manifest bare ''
source_file bare lib.rs '' '' '' "$functions"
for name in unchecked checked; do
    manifest "$name" "$atlasent"
    source_file "$name" lib.rs "$protect" "$permit" "$refusal" "$functions"
done
with_policies checked
policies checked 100
manifest tracing 'tracing = "0.1"'
source_file tracing lib.rs '#[tracing::instrument]' '' '' "$functions"
manifest protect-axum 'axum = { version = "0.8", default-features = false }
protect-axum = "0.2"'
source_file protect-axum lib.rs '#[protect_axum::protect("TRANSFER")]' '' '' "$functions"
for count in "${policy_counts[@]}"; do
    manifest "policies-$count" ''
    with_policies "policies-$count"
    policies "policies-$count" "$count"
    : >"$scratch/policies-$count/src/lib.rs"
done
for name in "${programs[@]}"; do
    manifest "$name" "${atlasent/%\}/, default-features = false \}}"
    source_file "$name" main.rs "$protect" "$permit" "$refusal
fn main() {}" "${name#sites-}"
done

cp -- "$repository/rust-toolchain.toml" "$repository/Cargo.lock" "$scratch/"
all=("${crates[@]}" "${programs[@]}" "${policy_counts[@]/#/policies-}")
cat >"$scratch/Cargo.toml" <<END
[workspace]
resolver = "3"
members = [$(printf '"%s", ' "${all[@]}")]
END
cd -- "$scratch"
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$scratch/target

# timed FILE COMMAND…: appends the microseconds that a command takes to FILE, and those of the processor to FILE.cpu.
timed() {
    local file=$1 start cpu TIMEFORMAT='%U %S'
    shift
    start=${EPOCHREALTIME/[^0-9]/}
    cpu=$({ time "$@" >/dev/null 2>&3; } 3>&2 2>&1)
    printf '%d\n' $((${EPOCHREALTIME/[^0-9]/} - start)) >>"$file"
    awk '{ print ($1 + $2) * 1000000 }' <<<"$cpu" >>"$file.cpu"
}

median() {
    sort -n "$1" | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'
}

mkdir times

# 1. The annotations.
for name in "${crates[@]}"; do
    cargo "$command" --quiet --package "$name-leaf"
done
for ((run = 0; run < runs; run++)); do
    for name in "${crates[@]}"; do
        touch "$name/src/lib.rs"
        timed "times/$name" cargo "$command" --quiet --package "$name-leaf"
    done
done
printf 'cargo %s of %d functions, median of %d runs\n\n' "$command" "$functions" "$runs"
printf '%-14s %10s %14s %14s %14s\n' crate 'total, ms' 'ms / function' 'processor, ms' 'ms / function'
for name in "${crates[@]}"; do
    awk -v name="$name" -v functions="$functions" \
        -v took="$(median "times/$name")" -v bare="$(median times/bare)" \
        -v cpu="$(median "times/$name.cpu")" -v bare_cpu="$(median times/bare.cpu)" \
        'BEGIN {
            printf "%-14s %10.0f %14.3f %14.0f %14.3f\n", name,
                took / 1000, (took - bare) / functions / 1000, cpu / 1000, (cpu - bare_cpu) / functions / 1000
        }'
done

# 2. The build scripts.
for count in "${policy_counts[@]}"; do
    cargo build --quiet --package "policies-$count-leaf"
done
for ((run = 0; run < runs; run++)); do
    for count in "${policy_counts[@]}"; do
        script=$(ls -d target/debug/build/policies-"$count"-leaf-*/build-script-build)
        (cd "policies-$count" && OUT_DIR=$scratch/times timed "$scratch/times/$count" "$scratch/$script")
    done
done
printf '\nbuild script, median of %d runs\n\n%-14s %10s %14s\n' "$runs" policies ms 'processor, ms'
for count in "${policy_counts[@]}"; do
    awk -v name="$count" -v took="$(median "times/$count")" -v cpu="$(median "times/$count.cpu")" \
        'BEGIN { printf "%-14s %10.1f %14.1f\n", name, took / 1000, cpu / 1000 }'
done

# 3. The sites, whose number alone differs between the two programs.
command -v valgrind >/dev/null || exit 0
before_main() {
    cargo build --quiet --release --package "$1-leaf"
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "target/release/$1-leaf" 2>&1 \
        | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
one=$(before_main "${programs[0]}")
many=$(before_main "${programs[1]}")
printf '\na program that does nothing: instructions from its start to its end, release build\n\n'
printf '%-14s %14s\n%-14s %14d\n%-14s %14d\n%-14s %14d\n' sites instructions 1 "$one" "$functions" "$many" \
    'each site' $(((many - one) / (functions - 1)))
