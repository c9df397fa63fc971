use atlasent::{Error, protect};

#[protect(action = "deploy.prodcution", agent = "bot", context = { commit: "4f2a", replicas: 3 })]
fn misspelt() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "wire.transfer", agent = "bot")]
fn unrelated() -> Result<(), Error> {
    Ok(())
}

fn main() {
    // The functions exist, so that nothing else is reported.
    let _ = (misspelt(), unrelated());
}
