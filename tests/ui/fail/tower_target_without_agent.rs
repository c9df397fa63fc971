//! A target whose agent is no name.

use atlasent_tower::RequestTarget;

fn main() {
    let _ = RequestTarget::action("deploy").agent(7);
    let _ = RequestTarget::action("deploy").agent_from(|_| Ok(7));
}
