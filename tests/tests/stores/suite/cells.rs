//! Every kind of cell belongs to one organization.
//!
//! The kinds are read from the source of `CellKey`, so that a new kind fails here until it has a
//! case.

use std::fs;

use atlasent::approval::Nonce;
use atlasent::wire::{PermitToken, StopScope, VerifyRequest};
use atlasent::{Authority, Decision};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::store::{
    AgentKey, Batch, BudgetKey, CellKey, ChainHead, Changeset, EscalationId, NonceKey, PermitKey,
    ReplayKey, Store, WebhookKey, WebhookState,
};
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::json;

use super::organizations::two;
use super::replays::{ALICE, ask, named};
use crate::media::Medium;
use crate::support::{Time, at, intact};

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../atlasent-authority/src/store/batch.rs"
);

const POLICIES: &str = r#"
    @id("pay") @budget("calls 9/hour per agent")
    permit (principal, action == Action::"pay", resource);
    permit (principal, action == Action::"release", resource);
    @decision("hold") @approvers("role:sre")
    forbid (principal, action == Action::"release", resource);
"#;

/// Returns the names of the variants in the source of `CellKey`.
fn kinds() -> Vec<String> {
    let source = fs::read_to_string(SOURCE).unwrap();
    let (_, kinds) = source.split_once("pub enum CellKey {").unwrap();
    let (kinds, _) = kinds.split_once("\n}").unwrap();
    let lines = kinds.lines().map(str::trim);
    let kinds = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let kinds: Vec<_> = kinds
        .map(|line| line.split(['(', ',']).next().unwrap().to_owned())
        .collect();
    assert!(kinds.len() >= 11, "{kinds:?}");
    kinds
}

/// The names of the cells that an organization has written.
#[derive(Clone)]
struct Written {
    token: PermitToken,
    budget: BudgetKey,
    approval: EscalationId,
}

impl Written {
    fn permit(&self) -> PermitKey {
        PermitKey::from_token(&self.token)
    }

    /// Returns the cell of a kind.
    fn cell(&self, kind: &str) -> CellKey {
        match kind {
            "Permit" => CellKey::Permit(self.permit()),
            "Replay" => CellKey::Replay(replay()),
            "Agent" => CellKey::Agent(agent()),
            "Budget" => CellKey::Budget(self.budget),
            "Stops" => CellKey::Stops,
            "Approval" => CellKey::Approval(self.approval.key()),
            "Questions" => CellKey::Questions(agent()),
            "OpenApprovals" => CellKey::OpenApprovals,
            "Nonce" => CellKey::Nonce(nonce()),
            "Webhook" => CellKey::Webhook(webhook()),
            "ApiKeys" => CellKey::ApiKeys,
            new => panic!("cells of the kind `{new}` have no case: write one in `write`"),
        }
    }

    /// Returns what a change reads in the cell of a kind.
    fn read(&self, kind: &str, changeset: &Changeset<'_>) -> String {
        match kind {
            "Permit" => format!("{:?}", changeset.permit(self.permit())),
            "Replay" => format!("{:?}", changeset.replay(replay())),
            "Agent" => format!("{:?}", changeset.outstanding(agent())),
            "Budget" => format!("{:?}", changeset.budget(self.budget)),
            "Stops" => format!("{:?}", changeset.stops()),
            "Approval" => format!("{:?}", changeset.approval(self.approval.key())),
            "Questions" => format!("{:?}", changeset.questions(agent())),
            "OpenApprovals" => changeset.open_approvals().to_string(),
            "Nonce" => changeset.is_claimed(nonce()).to_string(),
            "Webhook" => format!("{:?}", changeset.webhook(webhook())),
            "ApiKeys" => format!("{:?}", changeset.recorded_keys()),
            new => panic!("cells of the kind `{new}` have no case"),
        }
    }

    /// Reads the cells of all kinds in a store.
    async fn read_in(&self, store: &impl Store) -> Vec<String> {
        let (written, kinds) = (self.clone(), kinds());
        let reads = kinds.iter().map(|kind| self.cell(kind)).collect();
        let look = move |changeset: &mut Changeset<'_>| {
            let cells = kinds.iter().map(|kind| written.read(kind, changeset));
            cells.collect::<Vec<_>>()
        };
        store.commit(at(0), reads, look).await.unwrap()
    }

    /// Reads the cells of all kinds in an empty chain.
    fn read_nowhere(&self) -> Vec<String> {
        let mut batch = Batch::new(ChainHead::genesis("nobody"), []);
        let changeset = batch.changeset(at(0));
        let cells = kinds().into_iter();
        cells.map(|kind| self.read(&kind, &changeset)).collect()
    }
}

fn agent() -> AgentKey {
    AgentKey::new("bot", None)
}

fn replay() -> ReplayKey {
    ReplayKey::new(&ALICE, "the-same")
}

fn nonce() -> NonceKey {
    NonceKey::new(&Nonce::new("the-same", "the-same", at(0)))
}

fn webhook() -> WebhookKey {
    WebhookKey::new("the-same")
}

async fn authority<S: Store>(store: S) -> LocalAuthority<S> {
    let org = store.status().await.unwrap().head.org_id.to_string();
    LocalAuthority::builder(Policies::parse(POLICIES).unwrap())
        .org_id(org)
        .clock(Time::default().clock())
        .store(store)
        .build()
        .await
        .unwrap()
}

/// Writes a cell of each kind, under names that are the same for every organization. `number` makes
/// the values of two organizations different.
async fn write<S: Store>(authority: &LocalAuthority<S>, number: u64) -> Written {
    let (paid, _) = ask(authority, ALICE, &named("pay", "the-same"))
        .await
        .unwrap();
    let token = paid.permit_token.unwrap();
    let (held, _) = ask(authority, ALICE, &named("release", "held"))
        .await
        .unwrap();
    assert_eq!(held.decision, Decision::Hold);
    let approval: EscalationId = held.escalation_id.unwrap().parse().unwrap();
    let stopped = StopScope::agent("stopped").unwrap();
    authority.stop(stopped, "a test", None).await.unwrap();

    let permit = PermitKey::from_token(&token);
    let reads = vec![
        CellKey::Permit(permit),
        CellKey::Nonce(nonce()),
        CellKey::Webhook(webhook()),
        CellKey::ApiKeys,
    ];
    let change = move |changeset: &mut Changeset<'_>| {
        changeset.claim(nonce(), at(3_600));
        let state = WebhookState {
            delivered: number,
            ..WebhookState::default()
        };
        changeset.keep_webhook(webhook(), state);
        let keys = json!({format!("key_{number}"): false});
        changeset.keep_recorded_keys(serde_json::from_value(keys).unwrap());
        changeset.permit(permit).unwrap().budgets().next().unwrap()
    };
    let budget = authority.store().commit(at(0), reads, change).await;
    Written {
        token,
        budget: budget.unwrap(),
        approval,
    }
}

pub(crate) async fn no_kind_of_cell_is_shared_by_organizations(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    let (one, two) = (authority(one).await, authority(two).await);
    let first = write(&one, 1).await;
    let (own, empty) = (first.read_in(one.store()).await, first.read_nowhere());
    for (kind, (own, empty)) in kinds().iter().zip(own.iter().zip(&empty)) {
        assert_ne!(own, empty, "`write` writes no cell of the kind `{kind}`");
    }
    // The other organization has none of the cells.
    assert_eq!(first.read_in(two.store()).await, empty);
    assert_eq!(two.store().status().await.unwrap().cells, 0);

    // The other organization writes and ends cells with the same names. That changes nothing here.
    let second = write(&two, 2).await;
    assert_eq!(first.read_in(one.store()).await, own);
    let verify = VerifyRequest::restating(&named("pay", "the-same"), second.token.clone());
    assert!(two.verify(&verify).await.unwrap().valid);
    let sre = Approver::new("sam", ["sre"]).unwrap();
    two.vote(second.approval, Ballot::reject(sre))
        .await
        .unwrap();
    two.stop(StopScope::all(), "a test", None).await.unwrap();
    assert_eq!(first.read_in(one.store()).await, own);

    // The other organization cannot end the cells of this one.
    let verify = VerifyRequest::restating(&named("pay", "the-same"), first.token.clone());
    assert!(!two.verify(&verify).await.unwrap().valid);
    let sre = Approver::new("sam", ["sre"]).unwrap();
    let voted = two.vote(first.approval, Ballot::approve(sre)).await;
    assert!(voted.is_err());
    assert_eq!(first.read_in(one.store()).await, own);
    assert!(one.verify(&verify).await.unwrap().valid);
    intact(one.store()).await;
    intact(two.store()).await;
}
