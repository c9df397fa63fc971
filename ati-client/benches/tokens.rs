//! What verifying a token costs.
fn main() {
    divan::main();
}
