//! Loading a set of policies that a build script has put into the program.

use atlasent::EmbeddedPolicies;

use super::{Policies, PolicyError, PolicyProblem, folder};

impl Policies {
    /// Loads the policies that `atlasent::include_policies!()` has put into the program, as
    /// [`from_dir`](Self::from_dir) loads their folder. It reads no file.
    ///
    /// ```no_run
    /// use atlasent::EmbeddedPolicies;
    /// use atlasent_authority::{LocalAuthority, Policies};
    ///
    /// # fn start(embedded: &EmbeddedPolicies) -> Result<LocalAuthority, Box<dyn std::error::Error>> {
    /// // `embedded` is `&atlasent::include_policies!()`.
    /// let policies = Policies::from_embedded(embedded)?;
    /// assert_eq!(policies.digest(), embedded.digest());
    /// Ok(LocalAuthority::in_memory(policies)?)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PoliciesBuilder::build`](super::PoliciesBuilder::build). [`PolicyError`] also when the
    /// set has another digest than the build script computed, which happens if that script used
    /// another version of `atlasent-build`.
    pub fn from_embedded(embedded: &EmbeddedPolicies) -> Result<Self, PolicyError> {
        let files = embedded.files().iter();
        let builder = files.fold(Self::builder(), |builder, (name, text)| {
            folder::with_file(builder, name, (*text).to_owned())
        });
        let policies = builder.build()?;
        if policies.digest() == embedded.digest() {
            return Ok(policies);
        }
        let message = format!(
            "the embedded policies have the digest {}, and the build script computed {}: use the \
             same version of `atlasent-build` and `atlasent-authority`",
            policies.digest(),
            embedded.digest()
        );
        Err(PolicyProblem::unplaced("<embedded>", message).into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::PoliciesBuilder;

    const FILES: [(&str, &str); 3] = [
        (
            "deploy.cedar",
            "permit (principal in Agent::\"ops\", action, resource);",
        ),
        (
            "entities.json",
            r#"[{ "uid": { "type": "Agent", "id": "ops" }, "attrs": {}, "parents": [] }]"#,
        ),
        (
            "schema.cedarschema",
            "entity Agent in [Agent]; entity Resource; action deploy appliesTo { principal: Agent, resource: Resource };",
        ),
    ];

    #[test]
    fn an_embedded_set_is_that_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let read = Policies::from_dir(folder.path()).unwrap();
        let builder = PoliciesBuilder::from_dir(folder.path()).unwrap();
        assert_eq!(builder.texts(), FILES);

        let digest: &'static str = read.digest().to_owned().leak();
        let embedded = EmbeddedPolicies::__from_build_script(digest, "", &FILES);
        let embedded = Policies::from_embedded(&embedded).unwrap();
        assert_eq!(embedded.digest(), read.digest());
        assert_eq!(embedded.schema_digest(), read.schema_digest());
        assert!(embedded.ids().eq(read.ids()));
    }

    #[test]
    fn an_embedded_set_with_another_digest_is_refused() {
        let embedded = EmbeddedPolicies::__from_build_script("5e0c", "", &FILES);
        let error = Policies::from_embedded(&embedded).unwrap_err().to_string();
        assert!(error.contains("`atlasent-build`"), "{error}");
    }
}
