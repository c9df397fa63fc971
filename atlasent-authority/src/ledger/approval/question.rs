//! What an agent asked that was held, and the list of an agent's held questions.

use std::collections::BTreeMap;

use atlasent::Agent;
use atlasent::approval::{ActionBinding, action_hash};
use base16ct::lower;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::EscalationId;

/// What an agent asked: the same question asked again joins the same pending decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The agent that asks.
    pub agent: Agent,
    /// The agents that act for the agent, by delegation, the current one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Agent>,
    /// The action.
    pub action: String,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The environment of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The hash of agent, action, resource, environment, amount and canonical context
    /// ([`action_hash`](atlasent::approval::action_hash)).
    pub action_hash: String,
    /// The environment of the API key that asked: `live` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_environment: Option<String>,
}

impl Question {
    /// Returns the key of the question: equal for equal questions alone.
    #[must_use]
    pub fn key(&self) -> QuestionKey {
        self.key_of("question", &self.action_hash)
    }

    /// Returns the key under which approvals for any context are found: equal for the same action
    /// on the same resource by the same agent, in the same environment.
    #[must_use]
    pub fn any_context_key(&self) -> QuestionKey {
        let binding = ActionBinding::new(&*self.action, self.agent.as_str());
        let binding = match &self.resource {
            Some(resource) => binding.resource_id(resource),
            None => binding,
        };
        let binding = match &self.environment {
            Some(environment) => binding.environment(environment),
            None => binding,
        };
        self.key_of("any context", &action_hash(&binding))
    }

    /// Returns the key of one approval for any context: the [key](Self::any_context_key) of all of
    /// them, and the decision, so that one approval never takes the place of another.
    #[must_use]
    pub fn grant_key(&self, id: EscalationId) -> QuestionKey {
        let QuestionKey(all) = self.any_context_key();
        QuestionKey(format!("{all}:{id}"))
    }

    /// Returns the key of a decision that was opened by hand.
    pub(super) fn key_by_hand(&self, id: EscalationId) -> QuestionKey {
        self.key_of("by hand", &id.to_string())
    }

    fn key_of(&self, kind: &str, hash: &str) -> QuestionKey {
        let environment = self.key_environment.as_deref().unwrap_or_default();
        let mut digest = Sha256::new()
            .chain_update(Sha256::digest(kind))
            .chain_update(Sha256::digest(environment))
            .chain_update(hash);
        // An approval for an agent does not cover its delegates, and the reverse.
        for actor in &self.actors {
            digest.update(Sha256::digest(actor.as_str()));
        }
        QuestionKey(lower::encode_string(&digest.finalize()))
    }
}

/// The key of a [`Question`]: a digest in hex, for an approval for any context followed by the
/// decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuestionKey(String);

/// The questions of an agent that are held or decided, with their pending decisions. One cell holds
/// them, so the same question never has two open decisions, and the number of an agent's open
/// decisions is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedQuestions(BTreeMap<QuestionKey, Asked>);

/// The pending decision of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    id: EscalationId,
    /// When the decision, or the approval, expires.
    until: Timestamp,
    /// Whether the decision is open.
    open: bool,
}

impl AskedQuestions {
    /// Returns the pending decision of a question, unless it has expired.
    #[must_use]
    pub fn get(&self, question: &QuestionKey, now: Timestamp) -> Option<EscalationId> {
        let asked = self.0.get(question).filter(|asked| now < asked.until);
        asked.map(|asked| asked.id)
    }

    /// Returns the decisions that approved a question for any context, the first to expire first.
    /// `any_context` is the [key](Question::any_context_key) of all of them.
    #[must_use]
    pub fn grants(&self, any_context: &QuestionKey, now: Timestamp) -> Vec<EscalationId> {
        // The keys of the approvals begin with it, and no digest begins with another one.
        let from = self.0.range::<QuestionKey, _>(any_context..);
        let all = from.take_while(|(key, _)| key.0.starts_with(&any_context.0));
        let mut standing: Vec<&Asked> = all.map(|(_, asked)| asked).collect();
        standing.retain(|asked| now < asked.until);
        standing.sort_by_key(|asked| asked.until);
        standing.into_iter().map(|asked| asked.id).collect()
    }

    /// Returns how many questions have an open decision.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> usize {
        let is_open = |asked: &&Asked| asked.open && now < asked.until;
        self.0.values().filter(is_open).count()
    }

    /// Returns how many decisions still answer their question when it is asked again: rejections
    /// that have not expired, and approvals that are not used up.
    #[must_use]
    pub fn decided(&self, now: Timestamp) -> usize {
        let stands = |asked: &&Asked| !asked.open && now < asked.until;
        self.0.values().filter(stands).count()
    }

    /// Sets the open decision of a question, and when it expires. An open decision of another id
    /// stays. Forgets expired ones.
    pub fn open_until(
        &mut self,
        question: QuestionKey,
        id: EscalationId,
        until: Timestamp,
        now: Timestamp,
    ) {
        let open = true;
        self.set(question, Asked { id, until, open }, now);
    }

    /// Sets the closed decision of a question, and how long the same question finds it. An open
    /// decision of another id stays. Forgets expired ones.
    pub fn close_until(
        &mut self,
        question: QuestionKey,
        id: EscalationId,
        until: Timestamp,
        now: Timestamp,
    ) {
        let open = false;
        self.set(question, Asked { id, until, open }, now);
    }

    /// Sets the decision of a question, unless another one is open: a change of an older decision
    /// does not hide the one that the question has now.
    fn set(&mut self, question: QuestionKey, asked: Asked, now: Timestamp) {
        self.0.retain(|_, asked| now < asked.until);
        let other = self.0.get(&question).filter(|known| known.id != asked.id);
        if !other.is_some_and(|other| other.open) {
            self.0.insert(question, asked);
        }
    }

    /// Removes a question, if this is its decision.
    pub fn remove(&mut self, question: &QuestionKey, id: EscalationId) {
        if self.0.get(question).is_some_and(|asked| asked.id == id) {
            self.0.remove(question);
        }
    }

    /// Returns when the last of the questions expires.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let last = self.0.values().map(|asked| asked.until).max();
        last.unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn question(action_hash: &str) -> Question {
        Question {
            agent: Agent::new("bot").unwrap(),
            actors: Vec::new(),
            action: "deploy".to_owned(),
            resource: None,
            environment: None,
            action_hash: action_hash.to_owned(),
            key_environment: Some("live".to_owned()),
        }
    }

    #[test]
    fn test_and_live_keys_ask_different_questions() {
        let live = question("a1");
        let mut test = live.clone();
        test.key_environment = Some("test".to_owned());
        assert_eq!(live.key(), live.clone().key());
        assert_ne!(live.key(), test.key());
        assert_ne!(live.any_context_key(), test.any_context_key());
    }

    #[test]
    fn the_key_for_any_context_depends_on_everything_else() {
        let one = question("a1").any_context_key();
        assert_eq!(one, question("b2").any_context_key());
        assert_ne!(one, question("a1").key());
        let changes: [fn(&mut Question); 5] = [
            |q| q.actors.push(Agent::new("helper").unwrap()),
            |q| q.agent = Agent::new("other").unwrap(),
            |q| q.action = "delete".to_owned(),
            |q| q.resource = Some("prod".to_owned()),
            |q| q.environment = Some("prod".to_owned()),
        ];
        for change in changes {
            let mut other = question("a1");
            change(&mut other);
            assert_ne!(one, other.any_context_key(), "{other:?}");
        }
    }

    #[test]
    fn all_grants_of_a_question_are_found_the_next_to_expire_first() {
        let mut other = question("a1");
        other.resource = Some("prod".to_owned());
        let one = question("a1");
        let ids: Vec<_> = (0..4).map(|_| EscalationId::random()).collect();
        let mut asked = AskedQuestions::default();
        for (id, until) in ids.iter().zip([30, 10, 20]) {
            asked.close_until(one.grant_key(*id), *id, at(until), at(0));
        }
        asked.close_until(other.grant_key(ids[3]), ids[3], at(40), at(0));
        asked.close_until(one.key(), ids[3], at(40), at(0));
        let grants = |asked: &AskedQuestions, second| {
            // In another context, they are the same.
            let any_context = question("b2").any_context_key();
            asked.grants(&any_context, at(second))
        };
        assert_eq!(grants(&asked, 9), [ids[1], ids[2], ids[0]]);
        assert_eq!(grants(&asked, 10), [ids[2], ids[0]]);
        asked.remove(&one.grant_key(ids[2]), ids[2]);
        assert_eq!(grants(&asked, 10), [ids[0]]);
        assert!(grants(&asked, 30).is_empty());
        let all_others = other.any_context_key();
        assert_eq!(asked.grants(&all_others, at(30)), [ids[3]]);
    }

    #[test]
    fn an_expired_question_is_not_found_and_does_not_count() {
        let (one, other) = (question("1").key(), question("2").key());
        let (first, second) = (EscalationId::random(), EscalationId::random());
        let mut asked = AskedQuestions::default();
        asked.open_until(one.clone(), first, at(10), at(0));
        asked.open_until(other.clone(), second, at(20), at(5));
        assert_eq!((asked.open(at(9)), asked.open(at(10))), (2, 1));
        assert_eq!(asked.decided(at(9)), 0);
        assert_eq!(asked.get(&one, at(9)), Some(first));
        assert_eq!(asked.get(&one, at(10)), None);
        assert_eq!(asked.expires_at(), at(20));

        asked.close_until(other.clone(), second, at(30), at(12));
        assert_eq!(asked.open(at(12)), 0);
        assert_eq!((asked.decided(at(29)), asked.decided(at(30))), (1, 0));
        asked.remove(&other, first);
        assert_eq!(asked.get(&other, at(29)), Some(second));
        asked.remove(&other, second);
        assert_eq!(asked.get(&other, at(29)), None);
    }

    #[test]
    fn no_decision_takes_the_question_of_another_open_one() {
        let question = question("1").key();
        let (first, second) = (EscalationId::random(), EscalationId::random());
        let mut asked = AskedQuestions::default();
        asked.open_until(question.clone(), first, at(10), at(0));
        asked.open_until(question.clone(), second, at(40), at(10));
        asked.open_until(question.clone(), first, at(20), at(5));
        asked.close_until(question.clone(), first, at(20), at(5));
        assert_eq!(asked.get(&question, at(15)), Some(second));
        asked.close_until(question.clone(), second, at(40), at(15));
        asked.open_until(question.clone(), first, at(20), at(15));
        assert_eq!(asked.get(&question, at(15)), Some(first));
    }
}
