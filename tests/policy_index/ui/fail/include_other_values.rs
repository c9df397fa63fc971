//! The included actions have the fields of the schema, with its types.

mod actions {
    atlasent::include_actions!();
}

fn main() {
    let _ = actions::DeployProduction { comit: String::new(), replicas: 3, tags: None };
    let _ = actions::DeployProduction { commit: String::new(), replicas: "3", tags: vec!["web".to_owned()] };
    let _ = actions::DeployProduction { commit: String::new(), tags: None };
    let _ = actions::DeployStaging;
}
