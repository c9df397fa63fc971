use atlasent::Action;

#[derive(Action)]
#[action("deploy.staging")]
struct Misnamed {
    commit: String,
}

#[derive(Action)]
#[action("deploy.production")]
struct Misspelt {
    commit: String,
    #[action(rename = "replcas")]
    count: u32,
}

#[derive(Action)]
#[action("deploy.production")]
struct Incomplete {
    commit: String,
    #[action(skip)]
    replicas: u32,
}

fn main() {}
