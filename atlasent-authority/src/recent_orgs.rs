//! Which organizations were active lately, for the rules by which one that has many requests leaves
//! room to others.

use std::time::{Duration, Instant};

use crate::store::OrgId;

/// More requests of an organization than these are many: they could keep all threads busy, or fill
/// a long transaction.
pub(crate) const MANY: usize = 8;

/// How long an organization is active after its last request.
const LATELY: Duration = Duration::from_secs(60);

/// The last two organizations that sent a request, and when: with these it is known of each
/// organization whether another one is active.
#[derive(Debug, Default)]
pub(crate) struct RecentOrgs([Option<(OrgId, Instant)>; 2]);

impl RecentOrgs {
    /// Notes a request of an organization.
    pub(crate) fn note(&mut self, org: &OrgId, now: Instant) {
        let [newer, older] = &mut self.0;
        match (&mut *newer, &mut *older) {
            (Some((id, at)), _) | (_, Some((id, at))) if id == org => *at = now,
            _ => *older = newer.replace((org.clone(), now)),
        }
    }

    /// Forgets the requests of an organization.
    #[cfg(any(feature = "postgres", feature = "redb"))]
    pub(crate) fn forget(&mut self, org: &OrgId) {
        for recent in &mut self.0 {
            recent.take_if(|(id, _)| id == org);
        }
    }

    /// Returns whether another organization than this one is active.
    pub(crate) fn has_other_than(&self, org: &OrgId, now: Instant) -> bool {
        let mut active = self.0.iter().flatten();
        active.any(|(id, at)| id != org && now.saturating_duration_since(*at) < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    #[test]
    fn an_organization_is_active_for_a_while_after_its_last_request() {
        let [a, b, c] = ["a", "b", "c"].map(org);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut recent = RecentOrgs::default();
        assert!(!recent.has_other_than(&a, start));
        recent.note(&a, start);
        assert!(!recent.has_other_than(&a, start), "it is the only one");
        assert!(recent.has_other_than(&b, start));
        for org in [&b, &c, &b] {
            recent.note(org, start);
        }
        for org in [&a, &b, &c] {
            assert!(recent.has_other_than(org, at(59)), "{org}");
            assert!(!recent.has_other_than(org, at(60)), "{org}");
        }
        recent.note(&b, at(60));
        assert!(recent.has_other_than(&a, at(61)));
        assert!(!recent.has_other_than(&b, at(61)), "only it was active");
    }

    #[test]
    #[cfg(any(feature = "postgres", feature = "redb"))]
    fn an_organization_that_is_forgotten_is_not_active() {
        let ([a, b], now) = (["a", "b"].map(org), Instant::now());
        let mut recent = RecentOrgs::default();
        recent.note(&a, now);
        recent.note(&b, now);
        recent.forget(&a);
        assert!(recent.has_other_than(&a, now));
        assert!(!recent.has_other_than(&b, now));
        recent.forget(&b);
        assert!(!recent.has_other_than(&a, now));
    }

    #[test]
    fn of_many_organizations_each_has_another_one() {
        let now = Instant::now();
        let mut recent = RecentOrgs::default();
        let all: Vec<_> = (0..100)
            .map(|number| org(&format!("org-{number}")))
            .collect();
        for org in &all {
            recent.note(org, now);
        }
        assert!(all.iter().all(|org| recent.has_other_than(org, now)));
    }
}
