//! The options that say whose approvals count, beside those of API keys.

use std::fs;
use std::path::{Path, PathBuf};

use atlasent::approval::TrustedIssuers;
use atlasent_authority::LocalAuthorityBuilder;
use atlasent_authority::sealing::SealingKeys;
use atlasent_authority::server::{OidcConfig, OidcVerifier, Server};
use atlasent_authority::store::{RateCounter, Store};
use clap::Args;

use crate::exit::Failure;

/// Approvers beside those with API keys.
#[derive(Args)]
pub(super) struct Approvers {
    /// The settings file of the OpenID Connect issuer of approvers, for tokens and the console
    /// [default: none]
    #[arg(long, value_name = "FILE")]
    oidc: Option<PathBuf>,

    /// The file of the issuers whose signed approvals count, as JSON: keys by issuer and key id
    /// [default: no issuer]
    #[arg(long, value_name = "FILE")]
    approval_issuers: Option<PathBuf>,

    /// The file of the issuers whose identity assertions count, in signed approvals, as JSON
    /// [default: no issuer]
    #[arg(long, value_name = "FILE", requires = "approval_issuers")]
    identity_issuers: Option<PathBuf>,

    /// The file of the keys that encrypt, in the store, what approvers see of a held request
    /// [default: not encrypted]
    #[arg(long, value_name = "FILE")]
    sealing_keys: Option<PathBuf>,

    /// Serve the console under /console: pages on which approvers log in and decide [default: off]
    #[arg(long)]
    pub(super) console: bool,

    /// The URL of an approval's page, with {id} in it, for agents
    /// [default: the console's, if `--oidc` names it]
    #[arg(long, value_name = "URL", value_parser = approval_url)]
    approval_url: Option<String>,
}

impl Approvers {
    /// Gives an authority the trusted issuers, the sealing keys, and the address of the approvals.
    pub(super) fn configure<S: Store>(
        &self,
        authority: LocalAuthorityBuilder<S>,
    ) -> Result<LocalAuthorityBuilder<S>, Failure> {
        let mut authority = authority.trusted_issuers(self.trusted_issuers()?);
        if let Some(path) = &self.sealing_keys {
            let keys = SealingKeys::from_file(path)
                .map_err(|error| unusable("--sealing-keys", path, error))?;
            authority = authority.sealing_keys(keys);
        }
        let of_console = match self.console {
            true => self
                .oidc_config()?
                .and_then(|config| page_of_approval(&config)),
            false => None,
        };
        Ok(match self.approval_url.as_ref().or(of_console.as_ref()) {
            Some(url) => authority.approval_url(url),
            None => authority,
        })
    }

    /// Reads the settings of the OpenID Connect issuer.
    fn oidc_config(&self) -> Result<Option<OidcConfig>, Failure> {
        let config = self.oidc.as_ref().map(OidcConfig::from_file).transpose();
        // Its error names the file.
        config.map_err(|error| Failure::misuse(format!("`--oidc`: {error}")))
    }

    /// Lets a server accept the tokens of the OpenID Connect issuer, and serve the console.
    pub(super) fn accept<S: Store + RateCounter>(
        &self,
        server: Server<S>,
    ) -> Result<Server<S>, Failure> {
        let server = match self.console {
            true => server.console(),
            false => server,
        };
        let (Some(path), Some(config)) = (&self.oidc, self.oidc_config()?) else {
            return Ok(server);
        };
        if config.has_login() && !self.console {
            let why = "it has a table `login`, which is for the console: add `--console`";
            return Err(unusable("--oidc", path, why));
        }
        let verifier =
            OidcVerifier::new(config).map_err(|error| unusable("--oidc", path, error))?;
        Ok(server.approvers_by_oidc(verifier))
    }

    fn trusted_issuers(&self) -> Result<TrustedIssuers, Failure> {
        let mut issuers = TrustedIssuers::default();
        if let Some(path) = &self.approval_issuers {
            let option = "--approval-issuers";
            issuers = TrustedIssuers::parse(&read(option, path)?)
                .map_err(|error| unusable(option, path, error))?;
        }
        if let Some(path) = &self.identity_issuers {
            let option = "--identity-issuers";
            issuers = (issuers.identity_issuers(&read(option, path)?))
                .map_err(|error| unusable(option, path, error))?;
        }
        Ok(issuers)
    }
}

/// Returns the URL of the console's page of an approval, if the settings name the address of the
/// console: the address on which the server listens need not be the one that browsers use.
fn page_of_approval(config: &OidcConfig) -> Option<String> {
    let console = config.console_url()?;
    Some(format!("{console}/console/approvals/{{id}}"))
}

/// Reads the settings file of an option.
fn read(option: &str, path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| unusable(option, path, error))
}

/// The failure for a settings file that cannot be used.
fn unusable(option: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::misuse(format!("`{option}`: `{}`: {error}", path.display()))
}

/// Checks the address of the page where a request is approved.
fn approval_url(text: &str) -> Result<String, &'static str> {
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    match is_url && text.contains("{id}") && !text.contains(char::is_whitespace) {
        true => Ok(text.to_owned()),
        false => {
            Err("invalid URL: write one with `{id}` in it, as in `https://approve.example/{id}`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_an_approval_is_where_the_console_is() {
        let issuer = "issuer = \"https://login.example\"\naudience = \"x\"\n";
        let without = OidcConfig::from_toml(issuer).unwrap();
        assert_eq!(page_of_approval(&without), None);
        let login = "[login]\nclient_id = \"c\"\nconsole_url = \"https://console.example/\"\n";
        let with = OidcConfig::from_toml(&format!("{issuer}{login}")).unwrap();
        let page = "https://console.example/console/approvals/{id}";
        assert_eq!(page_of_approval(&with).as_deref(), Some(page));
        assert!(approval_url(page).is_ok());
    }

    #[test]
    fn the_page_of_an_approval_is_a_url_with_a_place_for_the_id() {
        for good in ["https://a.example/{id}", "http://127.0.0.1:8080/x?id={id}"] {
            assert_eq!(approval_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "a.example/{id}",
            "https://a.example/",
            "https://a.example/{id} x",
        ] {
            assert!(approval_url(bad).is_err(), "{bad}");
        }
    }
}
