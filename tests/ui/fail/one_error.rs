//! One mistake is one error, wherever the function is used: it keeps its signature.

use std::fmt::Display;

use atlasent::{Error, Permit, protect};

struct Cluster {
    name: String,
}

trait Deploy {
    async fn deploy(&self, commit: &str) -> Result<usize, Error>;
}

impl Deploy for Cluster {
    #[protect(action = "deploy", agnet = self.name, context = { commit })]
    async fn deploy(&self, commit: &str, permit: Permit) -> Result<usize, Error> {
        let (list, x) = undeclared(commit, permit);
        Ok(list.len())
    }
}

impl Cluster {
    fn run<T: Display>(&self, commit: T) -> impl Future<Output = Result<usize, Error>> {
        async move { self.deploy(&commit.to_string()).await }
    }
}

fn main() {
    let cluster = Cluster { name: "c7".into() };
    drop(cluster.run("4f2a"));
}
