//! The arguments of a boundary are defaults for its methods.

use atlasent::boundary;

struct Bank;

#[boundary(agnet = "teller", action = "pay", all = true, colour = 1)]
impl Bank {}

struct Shop;

#[boundary(authority, agent = "teller")]
impl Shop {}

struct Park;

#[boundary(agent = "a", agent = "b", front = ParkFront)]
impl Park {}

fn main() {}
