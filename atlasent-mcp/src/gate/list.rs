//! Lists that show what the caller could do now.
//!
//! The authority is asked about each item in one batch, with `shadow`, so that no permit is minted.
//! A list is no decision: what it shows is decided on when it is called, and what it hides is
//! refused when it is called. An item is hidden only if the authority would refuse it whatever the
//! arguments are, as far as a question without arguments can tell.

use std::collections::BTreeSet;

use atlasent::AnyAction;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Gate;
use super::arguments::granted_scopes;
use super::shadow::{Age, Answer};
use crate::caller::Caller;
use crate::mapping::MappedAction;
use crate::operation::{Kind, Operation};
use crate::refusal::Refusal;
use crate::schema::Requirement;

/// A kind of list that a server returns.
#[derive(Debug)]
pub(crate) struct List {
    method: &'static str,
    /// The member of the result that holds the items.
    pub(crate) member: &'static str,
    /// The member that names an item, and the method that uses an item. Unset for a list that is
    /// not filtered.
    items: Option<(&'static str, &'static str)>,
}

/// All lists of the protocol. Templates are not filtered, because they name no single resource.
static LISTS: [List; 6] = [
    List::new("tools/list", "tools", Some(("name", "tools/call"))),
    List::new("prompts/list", "prompts", Some(("name", "prompts/get"))),
    List::new(
        "resources/list",
        "resources",
        Some(("uri", "resources/read")),
    ),
    List::new(
        "resources/directory/read",
        "resources",
        Some(("uri", "resources/read")),
    ),
    List::new("resources/templates/list", "resourceTemplates", None),
    List::new("skills/list", "skills", Some(("uri", "skills/get"))),
];

impl List {
    const fn new(
        method: &'static str,
        member: &'static str,
        items: Option<(&'static str, &'static str)>,
    ) -> Self {
        Self {
            method,
            member,
            items,
        }
    }

    /// Returns the list that a method answers with.
    pub(crate) fn of_method(method: &str) -> Option<&'static Self> {
        LISTS.iter().find(|list| list.method == method)
    }
}

/// An item of a list, and what is asked about it.
struct Item {
    item: Value,
    operation: Operation,
    question: AnyAction,
    /// Whether the resource of a call is in its arguments.
    has_unknown_resource: bool,
    requirements: BTreeSet<Requirement>,
}

impl Gate {
    /// Returns the result of a list without the items that the caller could not use, and with the
    /// schema of each tool as the caller may use it. Results of other methods stay as they are.
    ///
    /// Lists of templates are not filtered: a template names no resource.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the authority gave no usable answer. No list is shown then.
    pub async fn filter_list(
        &self,
        operation: &Operation,
        result: Value,
        caller: &Caller,
    ) -> Result<Value, Refusal> {
        match List::of_method(operation.method()) {
            Some(list) => self.filter_items(list, result, caller).await,
            None => Ok(result),
        }
    }

    /// Returns the result of a list as [`filter_list`](Self::filter_list) does.
    pub(crate) async fn filter_items(
        &self,
        list: &List,
        mut result: Value,
        caller: &Caller,
    ) -> Result<Value, Refusal> {
        let Some((names, uses)) = list.items else {
            return Ok(result);
        };
        let Some(Value::Array(items)) = result.get_mut(list.member) else {
            return Ok(result);
        };
        let items = std::mem::take(items).into_iter();
        let items: Vec<Item> = items
            .filter_map(|item| self.item(item, names, uses, caller))
            .collect();
        let visible = self.visible(items, caller).await?;
        if let Some(object) = result.as_object_mut() {
            object.insert(list.member.to_owned(), Value::Array(visible));
        }
        Ok(result)
    }

    /// Announces that lists may have changed, because policies did. Answers that are kept for lists
    /// are forgotten, and the sessions of guarded servers notify their clients.
    ///
    /// Call it after the policies of an embedded authority were replaced, or let
    /// [`announce_lists`](Self::announce_lists) call it. A server with an authority does not tell
    /// when its policies change.
    pub fn lists_changed(&self) {
        self.shared.shadow.forget();
        self.shared.lists_changed.send_replace(());
    }

    /// Calls [`lists_changed`](Self::lists_changed) each time that `changes` is notified, until its
    /// sender is gone. For an embedded authority, pass `LocalAuthority::watch_policies`, and spawn
    /// the future.
    pub async fn announce_lists<T>(&self, mut changes: watch::Receiver<T>) {
        while changes.changed().await.is_ok() {
            self.lists_changed();
        }
    }

    /// Returns a receiver that is notified by [`lists_changed`](Self::lists_changed).
    #[must_use]
    pub fn watch_lists(&self) -> watch::Receiver<()> {
        self.shared.lists_changed.subscribe()
    }

    /// Returns what is asked about an item, or `None` if the caller cannot use it in any case.
    fn item(&self, item: Value, names: &str, uses: &str, caller: &Caller) -> Option<Item> {
        let name = item.get(names)?.as_str()?;
        let params = json!({ names: name }).to_string();
        let params = RawValue::from_string(params).ok()?;
        let operation = Operation::parse(uses, Some(&params)).ok()?;
        let action = self.shared.mapping.list_action(&operation)?;
        let question = question(action)?;
        self.require_scope(&operation, caller).ok()?;
        let mut requirements = BTreeSet::new();
        if operation.kind() == Kind::Tool
            && let Some(tool) = self.known_tool(name).ok()?
        {
            requirements.clone_from(tool.requirements());
        }
        Some(Item {
            item,
            has_unknown_resource: self.shared.mapping.has_resource_argument(&operation),
            operation,
            question,
            requirements,
        })
    }

    async fn visible(&self, items: Vec<Item>, caller: &Caller) -> Result<Vec<Value>, Refusal> {
        // One batch: first the items, then the actions that parts of their arguments require.
        let parts: BTreeSet<&Requirement> =
            items.iter().flat_map(|item| &item.requirements).collect();
        let parts: Vec<&Requirement> = parts.into_iter().collect();
        let part_questions = parts.iter().filter_map(|part| match part {
            Requirement::Action(name) => Some((*part, AnyAction::new(name.clone()).ok()?)),
            Requirement::Scope(_) => None,
        });
        let (part_requirements, part_questions): (Vec<&Requirement>, Vec<AnyAction>) =
            part_questions.unzip();
        let item_questions = items.iter().map(|item| item.question.clone());
        let questions: Vec<AnyAction> = item_questions.chain(part_questions).collect();
        let mut answers = self.would_allow(&questions, caller, Age::Kept).await?;
        let part_answers = answers.split_off(items.len());
        let allowed = part_requirements.into_iter().zip(part_answers);
        let allowed = allowed.filter(|(_, answer)| *answer == Answer::Allowed);
        let allowed: BTreeSet<Requirement> = allowed.map(|(part, _)| part.clone()).collect();
        let visible = items.into_iter().zip(answers);
        let visible = visible.filter(|(item, answer)| match answer {
            Answer::Allowed | Answer::Held | Answer::Depends => true,
            Answer::NoPolicy => item.has_unknown_resource,
            Answer::No => false,
        });
        let visible = visible.filter_map(|(item, _)| self.shown(item, &allowed, caller));
        Ok(visible.collect())
    }

    /// Returns an item as the caller sees it, or `None` for a tool that the caller cannot call with
    /// any arguments.
    fn shown(&self, item: Item, allowed: &BTreeSet<Requirement>, caller: &Caller) -> Option<Value> {
        let Item {
            mut item,
            operation,
            requirements,
            ..
        } = item;
        if requirements.is_empty() {
            return Some(item);
        }
        let met = &granted_scopes(&requirements, caller) | allowed;
        let tool = operation
            .target()
            .and_then(|name| self.known_tool(name).ok().flatten());
        let schema = tool?.shown(&met)?;
        if let Some(object) = item.as_object_mut() {
            object.insert("inputSchema".to_owned(), schema);
        }
        Some(item)
    }
}

/// Returns the question about an item. `None` if the name of its action is too long: a call of it
/// is refused, too.
fn question(action: MappedAction) -> Option<AnyAction> {
    let question = AnyAction::new(action.name).ok()?;
    Some(match action.resource {
        Some(resource) => question.with_resource(resource),
        None => question,
    })
}
