//! A permit for an action that the caller chooses by a parameter of the method.

use atlasent::{Permit, boundary};

pub trait Tool {
    type Action;
}

pub trait Tools {
    type Action<T>;
}

pub struct Bank<B>(B);

#[boundary]
impl<B: Tools> Bank<B> {
    pub fn run<T: Tool>(&self, permit: Permit<T::Action>) {
        drop(permit);
    }

    pub fn run_qualified<T: Tool>(&self, permit: Permit<<T as Tool>::Action>) {
        drop(permit);
    }

    pub fn run_among<T>(&self, permit: Permit<B::Action<T>>) {
        drop(permit);
    }

    pub fn run_of_the_bank(&self, permit: Permit<B::Action<u8>>) {
        drop(permit);
    }
}

#[boundary]
trait Ledger: Tools {
    fn post<T>(&self, permit: Permit<Self::Action<T>>);
}

fn main() {}
