//! What an agent asked that was held, and the list of an agent's held questions.

use std::collections::BTreeMap;

use atlasent::Agent;
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
        let environment = self.key_environment.as_deref().unwrap_or_default();
        let digest = Sha256::new()
            .chain_update(Sha256::digest(environment))
            .chain_update(&self.action_hash)
            .finalize();
        QuestionKey(lower::encode_string(&digest))
    }
}

/// The key of a [`Question`], in hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuestionKey(String);

/// The questions of an agent that are held, or whose approval is unused, with their pending
/// decisions. One cell holds them, so the same question never has two pending decisions, and the
/// number of an agent's pending decisions is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedQuestions(BTreeMap<QuestionKey, Asked>);

/// The pending decision of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    id: EscalationId,
    /// When the decision, or the approval, expires.
    until: Timestamp,
}

impl AskedQuestions {
    /// Returns the pending decision of a question, also an expired one.
    #[must_use]
    pub fn get(&self, question: &QuestionKey) -> Option<EscalationId> {
        self.0.get(question).map(|asked| asked.id)
    }

    /// Returns how many questions have an unexpired decision.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> usize {
        self.0.values().filter(|asked| now < asked.until).count()
    }

    /// Sets the pending decision of a question, and when it expires. Removes expired ones.
    pub fn set(
        &mut self,
        question: QuestionKey,
        id: EscalationId,
        until: Timestamp,
        now: Timestamp,
    ) {
        self.0.retain(|_, asked| now < asked.until);
        self.0.insert(question, Asked { id, until });
    }

    /// Removes a question, if this is its pending decision.
    pub fn remove(&mut self, question: &QuestionKey, id: EscalationId) {
        if self.get(question) == Some(id) {
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

    #[test]
    fn test_and_live_keys_ask_different_questions() {
        let live = Question {
            agent: Agent::new("bot").unwrap(),
            action: "deploy".to_owned(),
            resource: None,
            environment: None,
            action_hash: "a1".to_owned(),
            key_environment: Some("live".to_owned()),
        };
        let mut test = live.clone();
        test.key_environment = Some("test".to_owned());
        assert_eq!(live.key(), live.clone().key());
        assert_ne!(live.key(), test.key());
    }

    #[test]
    fn an_expired_question_does_not_count() {
        let (one, other) = (QuestionKey("1".to_owned()), QuestionKey("2".to_owned()));
        let (first, second) = (EscalationId::random(), EscalationId::random());
        let mut asked = AskedQuestions::default();
        asked.set(one.clone(), first, at(10), at(0));
        asked.set(other.clone(), second, at(20), at(5));
        assert_eq!((asked.count(at(9)), asked.count(at(10))), (2, 1));
        assert_eq!(asked.expires_at(), at(20));

        asked.remove(&other, first);
        assert_eq!(asked.get(&other), Some(second));
        asked.remove(&other, second);
        assert_eq!(asked.get(&other), None);
    }
}
