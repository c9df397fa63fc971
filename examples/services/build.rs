//! Checks the policies, and has the macros check the code against them. Generates the messages, the
//! server and the client of `clinic.proto`.

use std::error::Error;

const DIRECTORY: &str = "../tonic_service";

fn main() -> Result<(), Box<dyn Error>> {
    atlasent_build::policies("policies");
    println!("cargo::rerun-if-changed={DIRECTORY}/clinic.proto");
    let files = protox::compile(["clinic.proto"], [DIRECTORY])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
