//! A scope that has to be granted, whatever holds the claims and however the scope is written.

use std::sync::Arc;

use ati_client::Claims;
use atlasent::{Error, Permit, protect};

struct Agent {
    claims: Arc<Claims>,
}

impl Agent {
    #[protect(action = "search", agent = self.claims.sub(), scope = "tool:search", claims = self.claims)]
    async fn search(&self, permit: Permit) -> Result<usize, Error> {
        Ok(permit.agent().as_str().len())
    }
}

#[protect(action = "call", agent = claims.sub(), claims = claims, scope = format!("tool:{tool}"))]
fn call(claims: &Claims, tool: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "call", agent = claims.sub(), scope = scope, claims = *claims)]
async fn borrowed(claims: &&Claims, scope: String) -> Result<String, Error> {
    Ok(scope)
}

#[test]
fn any_holder_of_claims_and_any_form_of_scope_compile() {}
