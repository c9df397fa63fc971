use atlasent::{Error, protect};

#[protect(action = "types.optional", agent = "bot", context = { count: note, name: note, "odd {key}": "x" })]
fn optional(note: Option<&str>) -> Result<(), Error> {
    Ok(())
}

fn main() {}
