use atlasent::{Error, protect};

#[protect(
    action = "types.required",
    agent = "bot",
    context = {
        flag: "true",
        count,
        name: 7,
        price: true,
        address: 10,
        at: std::time::SystemTime::now(),
        within: std::time::Duration::from_secs(5),
        counts: vec!["one"],
        nested: ["a"],
        team: 5,
        teams: "blue",
        client: 7,
    },
)]
async fn required(count: String) -> Result<(), Error> {
    Ok(())
}

fn main() {}
