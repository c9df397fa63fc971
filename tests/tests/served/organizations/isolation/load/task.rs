//! A client of one organization, which calls at random.

use std::sync::Arc;
use std::time::Instant;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::{Granted, Notes, SharedNotes, TASKS};
use crate::support::{AGENT, Answer, Served, deploy};

/// A client of one organization that calls at random.
pub(super) struct Task {
    pub(super) org: &'static str,
    pub(super) key: String,
    pub(super) served: Arc<Served>,
    pub(super) notes: SharedNotes,
    pub(super) random: u64,
    pub(super) calls: usize,
    pub(super) name: usize,
    pub(super) is_revoked: bool,
}

impl Task {
    pub(super) async fn run(mut self, started: Instant) {
        // Wrong keys are counted by address, so a client with a revoked key has to stop.
        while !self.is_revoked && !self.notes.lock().unwrap().is_enough(started) {
            match self.random(12) {
                0..4 => self.evaluate().await,
                4..8 => self.verify_any().await,
                8 => self.revoke().await,
                9 => self.stop().await,
                10 => self.list().await,
                _ => self.export().await,
            }
        }
    }

    fn may_be_revoked(&self) -> bool {
        self.name + 1 == TASKS
    }

    /// Returns a number below `limit` (xorshift).
    fn random(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 11).unwrap() % limit
    }

    async fn send(&mut self, method: Method, target: &str, body: &Value) -> Answer {
        self.calls += 1;
        let id = format!("{}-{}-{}", self.org, self.name, self.calls);
        let request = (self.served.bare(method, target))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header("x-request-id", format!("request-{id}"))
            .header(CONTENT_TYPE, "application/json");
        let answer = Answer::receive(request.body(body.to_string())).await;
        self.is_revoked |= answer.status == 401;
        // Suspended, or no such permit or stop. A folder may be read while its file is being
        // written.
        let is_expected = match answer.status {
            200 | 403 | 404 => true,
            401 => self.may_be_revoked(),
            503 => answer.json()["code"] == "POLICIES_UNAVAILABLE",
            _ => false,
        };
        assert!(is_expected, "{id} {target}: {}", answer.text);
        *self
            .notes
            .lock()
            .unwrap()
            .statuses
            .entry(answer.status)
            .or_default() += 1;
        answer
    }

    /// Makes a request whose id all organizations use.
    async fn evaluate(&mut self) {
        let mut body = deploy();
        body["request_id"] = json!(format!("the-same-{}", self.random(200)));
        let answer = self.send(Method::POST, "/v1-evaluate", &body).await;
        if answer.status != 200 {
            return;
        }
        let json = answer.json();
        let Some(token) = json["permit_token"].as_str() else {
            return;
        };
        let permit = Granted {
            org: self.org,
            token: token.to_owned(),
        };
        self.note(|notes| {
            notes.granted.push(permit.clone());
            let permit_id = json["permit_id"].as_str().unwrap().to_owned();
            notes
                .permit_ids
                .entry(permit.org)
                .or_default()
                .insert(permit_id);
        });
        if self.random(2) == 0 {
            self.verify(permit).await;
        }
    }

    fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap())
    }

    /// Returns a permit of any organization.
    fn any_permit(&mut self) -> Option<Granted> {
        let random = self.random(usize::MAX);
        let mut notes = self.notes.lock().unwrap();
        // One of the newest, which are rarely used.
        let newest = notes.granted.len().min(12);
        let place = notes.granted.len() - random.checked_rem(newest)? - 1;
        let granted = notes.granted[place].clone();
        notes.foreign += usize::from(granted.org != self.org);
        Some(granted)
    }

    async fn verify_any(&mut self) {
        if let Some(permit) = self.any_permit() {
            self.verify(permit).await;
        }
    }

    async fn verify(&mut self, permit: Granted) {
        let body =
            json!({"permit_token": permit.token, "action_type": "deploy", "actor_id": AGENT});
        let answer = self.send(Method::POST, "/v1-verify-permit", &body).await;
        if answer.status == 200 && answer.json()["valid"] == true {
            let org = self.org;
            self.note(|notes| notes.accepted.entry(permit.token).or_default().push(org));
        }
    }

    async fn revoke(&mut self) {
        let Some(permit) = self.any_permit() else {
            return;
        };
        if self.random(8) == 0 {
            let body = json!({"all": true, "reason": format!("a reason of {}", self.org)});
            self.send(Method::POST, "/v1/permits/revoke", &body).await;
            return;
        }
        let body = json!({"permit_token": permit.token, "reason": "r"});
        self.send(Method::POST, "/v1-revoke-permit", &body).await;
    }

    async fn stop(&mut self) {
        // A stop of the agent makes all its permits invalid. A key that may be revoked before it
        // lifts the stop would leave the organization without permits, so it stops another agent.
        let agent = if !self.may_be_revoked() && self.random(4) == 0 {
            AGENT
        } else {
            "another-bot"
        };
        let body = json!({"agent_id": agent, "reason": format!("a reason of {}", self.org)});
        let set = self.send(Method::POST, "/v1/stops", &body).await;
        let stops = self.send(Method::GET, "/v1/stops", &json!({})).await;
        if stops.status == 200 {
            for stop in stops.json()["stops"].as_array().unwrap() {
                assert_eq!(stop["reason"], body["reason"]);
            }
        }
        if set.status == 200 {
            let path = format!("/v1/stops/{}", set.json()["id"].as_str().unwrap());
            // The organization may be suspended.
            loop {
                let body = json!({"reason": "over"});
                let lifted = self.send(Method::DELETE, &path, &body).await;
                if self.is_revoked || !matches!(lifted.status, 403 | 503) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    async fn list(&mut self) {
        for (target, name) in [("/v1/permits", "permits"), ("/v1-audit/events", "events")] {
            let answer = self
                .send(Method::GET, &format!("{target}?limit=20"), &json!({}))
                .await;
            if answer.status == 200 {
                self.all_own(&answer.json()[name]);
            }
        }
    }

    async fn export(&mut self) {
        let body = json!({"types": ["permit.verified", "policy.loaded"]});
        let answer = self.send(Method::POST, "/v1-audit/exports", &body).await;
        if answer.status == 200 {
            assert_eq!(answer.json()["org_id"], self.org);
            self.all_own(&answer.json()["events"]);
        }
    }

    fn all_own(&self, list: &Value) {
        for one in list.as_array().unwrap() {
            assert_eq!(one["org_id"], self.org);
        }
    }
}
