#!/usr/bin/env bash
# The order of locks: runs tests with a `parking_lot` that learns in which order locks are taken, and ends the program at an inversion, whether two
# threads met in it or not. Further arguments go to `cargo test`; without any, the tests of the runtime, of the I/O driver and of the combinators run.
# With LOCK_ORDER_TELLS set it prints what it learns (`-- --nocapture`).
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo test -q --manifest-path tests/lock_order/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/lock-order"

# cargo writes down that the crate comes from here.
saved=$(mktemp)
cp Cargo.lock "$saved"
trap 'cp "$saved" Cargo.lock; rm "$saved"' EXIT

[ $# -gt 0 ] || set -- -p heist -p heist-io-driver -p heist-combinators --lib --test it
# Learning costs time at every lock.
export HEIST_TEST_LIMIT=${HEIST_TEST_LIMIT:-600}
cargo test --config 'patch.crates-io.parking_lot.path="tests/lock_order"' "$@"
