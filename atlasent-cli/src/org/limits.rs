//! The options for the name and the limits of an organization, and how these are printed.

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use atlasent_authority::organizations::Organization;
use clap::Args;

/// The options for the properties of an organization. An option that is not given leaves its
/// property as it is.
#[derive(Args)]
pub(super) struct Properties {
    /// A description of the organization, shown by `org list`; an empty text for none
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// The calls per minute of all API keys of the organization together, or `none`
    #[arg(long, value_name = "N")]
    rate_limit: Option<Limit<NonZeroU64>>,

    /// The unused permits that the organization may have at a time, or `none`
    #[arg(long, value_name = "N")]
    max_permits: Option<Limit<NonZeroU64>>,

    /// The decisions of the organization that may wait for approvers at a time, or `none`
    #[arg(long, value_name = "N")]
    max_approvals: Option<Limit<NonZeroU64>>,

    /// The events of the organization that the store keeps before it refuses evaluations, or `none`
    #[arg(long, value_name = "N")]
    max_events: Option<Limit<NonZeroU64>>,

    /// The days after which events are archived, or `none` for the setting of the server
    #[arg(long, value_name = "N")]
    retain_days: Option<Limit<NonZeroU32>>,
}

/// The value of an option: a limit, or `none`.
#[derive(Clone, Copy)]
struct Limit<T>(Option<T>);

impl<T: FromStr> FromStr for Limit<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            _ => match text.parse() {
                Ok(limit) => Ok(Self(Some(limit))),
                Err(_) => Err("write a whole number of at least 1, or `none`"),
            },
        }
    }
}

impl Properties {
    /// Returns whether no option was given.
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.rate_limit.is_none()
            && self.max_permits.is_none()
            && self.max_approvals.is_none()
            && self.max_events.is_none()
            && self.retain_days.is_none()
    }

    /// Returns the change that the options make.
    pub(super) fn change(&self) -> impl Fn(&mut Organization) + Send + use<> {
        let name = self.name.clone();
        let (rate_limit, max_permits) = (self.rate_limit, self.max_permits);
        let (max_approvals, max_events) = (self.max_approvals, self.max_events);
        let retain_days = self.retain_days;
        move |organization| {
            if let Some(name) = &name {
                organization.name = (!name.is_empty()).then(|| name.clone());
            }
            let limits = &mut organization.limits;
            put(&mut limits.rate_limit_per_minute, rate_limit);
            put(&mut limits.max_permits, max_permits);
            put(&mut limits.max_approvals, max_approvals);
            put(&mut limits.max_events, max_events);
            put(&mut organization.retain_days, retain_days);
        }
    }
}

fn put<T>(property: &mut Option<T>, given: Option<Limit<T>>) {
    if let Some(Limit(limit)) = given {
        *property = limit;
    }
}

/// Returns the limits as the options that set them, or `-` for none.
pub(super) fn as_text(organization: &Organization) -> String {
    let limits = &organization.limits;
    let named = [
        ("rate-limit", limits.rate_limit_per_minute),
        ("max-permits", limits.max_permits),
        ("max-approvals", limits.max_approvals),
        ("max-events", limits.max_events),
        (
            "retain-days",
            organization.retain_days.map(NonZeroU64::from),
        ),
    ];
    let texts = named
        .iter()
        .filter_map(|(name, limit)| limit.map(|limit| format!("{name}={limit}")));
    match texts.collect::<Vec<_>>().join(",") {
        none if none.is_empty() => "-".to_owned(),
        texts => texts,
    }
}
