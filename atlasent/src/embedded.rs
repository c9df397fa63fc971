//! Policies, actions and digests that a build script brings into the program.

/// A set of policies in the program, from [`include_policies!`](crate::include_policies).
///
/// `atlasent_authority::Policies::from_embedded` loads it, without files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedPolicies {
    digest: &'static str,
    schema_digest: &'static str,
    files: &'static [(&'static str, &'static str)],
}

impl EmbeddedPolicies {
    /// Takes what a build script wrote. Only [`include_policies!`](crate::include_policies) calls
    /// it.
    #[doc(hidden)]
    #[must_use]
    pub const fn __from_build_script(
        digest: &'static str,
        schema_digest: &'static str,
        files: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            digest,
            schema_digest,
            files,
        }
    }

    /// Returns the digest of the whole set, as `atlasent_authority::Policies::digest` does.
    #[must_use]
    pub const fn digest(&self) -> &'static str {
        self.digest
    }

    /// Returns the digest of the schema, as [`schema_digest!`](crate::schema_digest) does.
    #[must_use]
    pub const fn schema_digest(&self) -> &'static str {
        self.schema_digest
    }

    /// Returns the name and the text of each file of the set, sorted by name.
    #[must_use]
    pub const fn files(&self) -> &'static [(&'static str, &'static str)] {
        self.files
    }
}

/// Brings in a struct for each action that the schema of the package's policies declares.
///
/// The package needs a build script that calls `atlasent_build::policies`, which writes the
/// structs. Call the macro once, in a module of its own:
///
/// ```text
/// mod actions {
///     atlasent::include_actions!();
/// }
///
/// #[protect(action = actions::DeployProduction { commit, replicas: 3, tags: None }, agent = "deploy-bot")]
/// fn deploy(commit: String) -> Result<(), atlasent::Error> { … }
/// ```
///
/// # What a struct has
///
/// | the schema has | the code has |
/// |---|---|
/// | `action "deploy.production"` | `struct DeployProduction`, an [`Action`](crate::Action) with that name |
/// | `@doc("…")` on an action or an attribute | the documentation of the struct or the field |
/// | an attribute `commitSha: String` | the field `commit_sha: String` |
/// | an optional attribute | an `Option` |
/// | `Bool`, `Long`, `String` | `bool`, `i64`, `String` |
/// | `decimal`, `ipaddr`, `datetime`, `duration` | [`Decimal`], [`IpRange`], [`Datetime`], [`TimeSpan`] |
/// | `Set<T>` | `Vec<T>` |
/// | a record | a struct in the module `records` |
/// | an entity | a struct in the module `entities`, which holds the id |
/// | an entity of an `enum` type | an enum in the module `entities` |
/// | `@resource` on an attribute | the field is the action's resource, as with `#[action(resource)]` |
/// | `@rust_name("Deploy")` on an action or an attribute | the struct or the field has this name |
///
/// An action is checked as one with [`derive(Action)`](derive@crate::Action), and is a
/// [site](crate::sites()) as well.
///
/// # Names
///
/// The name of a type is the words of the schema's name in camel case, and that of a field in snake
/// case. A word is letters and digits without anything between them. A keyword is written `r#type`,
/// and one that cannot be written so gets an underscore: `self_`. Names of the schema that become
/// the same Rust name, or that have no letter or digit, are a compile error where the macro is
/// called; `@rust_name` chooses another name.
///
/// [`Decimal`]: crate::schema::Decimal
/// [`IpRange`]: crate::schema::IpRange
/// [`Datetime`]: crate::schema::Datetime
/// [`TimeSpan`]: crate::schema::TimeSpan
#[macro_export]
macro_rules! include_actions {
    () => {
        #[allow(unused_imports, reason = "a schema may declare no action")]
        use $crate as __atlasent;

        ::core::include!(::core::env!(
            "ATLASENT_ACTIONS",
            "`include_actions!` needs a build script that calls `atlasent_build::policies(\"policies\")`"
        ));
    };
}

/// Returns the policies of the package as [`EmbeddedPolicies`]: the files that its build script
/// checked, with their digest and that of their schema. A program with embedded policies reads no
/// policy file.
///
/// The package needs a build script that calls `atlasent_build::policies`. The macro can be used in
/// a `const` or a `static`:
///
/// ```text
/// const POLICIES: EmbeddedPolicies = atlasent::include_policies!();
///
/// let policies = atlasent_authority::Policies::from_embedded(&POLICIES)?;
/// ```
#[macro_export]
macro_rules! include_policies {
    () => {{
        const EMBEDDED: (
            &'static ::core::primitive::str,
            &'static ::core::primitive::str,
            &'static [(&'static ::core::primitive::str, &'static ::core::primitive::str)],
        ) = ::core::include!(::core::env!(
            "ATLASENT_POLICIES",
            "`include_policies!` needs a build script that calls `atlasent_build::policies(\"policies\")`"
        ));
        $crate::EmbeddedPolicies::__from_build_script(EMBEDDED.0, EMBEDDED.1, EMBEDDED.2)
    }};
}

/// Returns the digest of the schema that the package was compiled with, as a `&'static str`.
///
/// The package needs a build script that calls `atlasent_build::policies`. Pass the digest to
/// `require_schema` of a `LocalAuthority` or of a client, which then refuse policies with another
/// schema:
///
/// ```text
/// let client = Client::builder().require_schema(atlasent::schema_digest!()).build()?;
/// ```
#[macro_export]
macro_rules! schema_digest {
    () => {
        ::core::env!(
            "ATLASENT_SCHEMA_DIGEST",
            "`schema_digest!` needs a build script that calls `atlasent_build::policies(\"policies\")`"
        )
    };
}
