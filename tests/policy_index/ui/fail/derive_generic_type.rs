use atlasent::Action;

#[derive(Action)]
#[action("deploy.production")]
struct Deploy<R> {
    commit: String,
    replicas: R,
}

fn action(_: impl Action) {}

fn main() {
    action(Deploy { commit: String::new(), replicas: 3 });
    action(Deploy { commit: String::new(), replicas: "three" });
}
