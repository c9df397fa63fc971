use atlasent::Action;

#[derive(Action)]
#[action("deploy.production")]
struct Deploy {
    commit: String,
    replicas: String,
    tags: Option<String>,
}

fn main() {}
