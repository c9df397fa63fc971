//! A permit for an action that the caller chooses.

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

    pub fn run_without_self(permit: Permit<B>) {
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

pub trait Execute<A> {
    fn execute(&self, permit: Permit<A>);
}

#[boundary]
impl<A, B> Execute<A> for Bank<B> {
    fn execute(&self, permit: Permit<A>) {
        drop(permit);
    }
}

fn main() {}
