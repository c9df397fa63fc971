//! A request that contradicts a claim, as the command line and `policy test` write requests.

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context};
use atlasent_authority::Policies;
use atlasent_authority::policy::{AttributeType, Explanation, RecordDescription};
use cedar_policy::{EntityUid, EvalResult, Request};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::side::Side;
use crate::json;

/// A request, what the entities say of it, and how policy sets decide it.
#[derive(Clone)]
pub(super) struct Counterexample {
    request: EvaluateRequest,
    /// The context in JSON.
    context: Value,
    /// Those of the request's entities that `entities.json` has, in its format.
    entities: Vec<Value>,
    /// The names of the policy sets, and their decisions. The first one is that of a case for
    /// `policy test`.
    decisions: Vec<(&'static str, Decided)>,
}

/// How a policy set decides a request.
#[derive(Clone)]
struct Decided {
    explanation: Explanation,
    /// The places of the determining policies.
    places: Vec<Option<String>>,
}

impl Decided {
    fn new(policies: &Policies, request: &EvaluateRequest) -> Self {
        let explanation = policies.explain(request);
        let ids = explanation.determining.iter();
        let places = ids.map(|id| policies.place(id)).collect();
        Self {
            explanation,
            places,
        }
    }

    /// Formats the decision, with its policies, or with its code if no policy made it.
    fn text(&self) -> String {
        let explanation = &self.explanation;
        let decision = explanation.decision;
        let code = explanation.code.as_deref();
        let by: Vec<String> = (explanation.determining.iter().zip(&self.places))
            .map(|(id, place)| match place {
                Some(place) => format!("`{id}` at {place}"),
                None => format!("`{id}`"),
            })
            .collect();
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        match by.is_empty() {
            true => format!("{decision}{code}"),
            false => format!("{decision}{code} by {}", by.join(", ")),
        }
    }

    fn json(&self) -> Value {
        let Explanation {
            decision, errors, ..
        } = &self.explanation;
        let json = json!({
            "decision": decision,
            "policies": self.explanation.determining,
            "errors": errors,
        });
        json::with_member(json, "code", self.explanation.code.as_deref())
    }
}

impl Counterexample {
    /// Translates Cedar's request, by the types and with the entities of one side, and lets all
    /// sides decide it.
    ///
    /// # Errors
    ///
    /// A reason, if no request can have these values.
    pub(super) fn new(
        request: &Request,
        side: &Side<'_>,
        sides: &[Side<'_>],
    ) -> Result<Self, String> {
        let uids = [request.principal(), request.action(), request.resource()];
        let [Some(agent), Some(action), Some(resource)] = uids else {
            return Err("a part of it is unknown".to_owned());
        };
        let action = action.id().unescaped();
        let mut named = vec![agent.clone(), resource.clone()];
        let mut context = Map::new();
        if let (Some(values), Some(action)) = (request.context(), side.action(action)) {
            for attribute in action.context().attributes() {
                if let Some(value) = values.get(attribute.name()) {
                    let value = as_json(&value, &attribute.attribute_type(), &mut named)?;
                    context.insert(attribute.name().to_owned(), value);
                }
            }
        }
        let actors = context.remove("actors");
        let context = Value::Object(context);
        let invalid = |error: atlasent::Error| error.to_string();
        let agent = Agent::new(agent.id().unescaped()).map_err(invalid)?;
        let parsed = Context::parse(&context.to_string()).map_err(|error| error.to_string())?;
        let action = AnyAction::new(action.to_owned()).map_err(invalid)?;
        let action = action
            .with_context(parsed)
            .with_resource(resource.id().unescaped());
        let mut request = EvaluateRequest::new(agent, &action).map_err(invalid)?;
        if let Some(actors) = actors {
            // The authority puts the actors into the context, and never an empty set.
            let actors: Vec<Agent> = serde_json::from_value(actors).unwrap_or_default();
            if actors.is_empty() {
                return Err("no request has these `context.actors`".to_owned());
            }
            request = request.with_actors(actors);
        }
        named.sort_unstable();
        named.dedup();
        let known = named.iter().filter_map(|uid| side.entities.get(uid));
        let entities = known.filter_map(|entity| entity.to_json_value().ok());
        Ok(Self {
            context,
            entities: entities.collect(),
            decisions: decisions(sides, &request),
            request,
        })
    }

    /// Returns the same request without a resource, which policies see as `Resource::"default"`.
    pub(super) fn without_resource(&self, sides: &[Side<'_>]) -> Self {
        let mut request = self.request.clone();
        request.resource_id = None;
        Self {
            context: self.context.clone(),
            entities: self.entities.clone(),
            decisions: decisions(sides, &request),
            request,
        }
    }

    /// Whether one policy set allows the request, and another one does not.
    pub(super) fn tells_apart(&self, inner: &Side<'_>, outer: &Side<'_>) -> bool {
        let allows = |side: &Side<'_>| {
            let decided = self.decided_by(side);
            decided.is_some_and(|explanation| explanation.decision.is_allow())
        };
        allows(inner) && !allows(outer)
    }

    /// Whether this policy of a set fails to evaluate on the request.
    pub(super) fn fails(&self, side: &Side<'_>, id: &str) -> bool {
        let decided = self.decided_by(side);
        decided.is_some_and(|explanation| {
            let mut failed = explanation.determining.iter();
            !explanation.errors.is_empty() && failed.any(|failed| failed == id)
        })
    }

    fn decided_by(&self, side: &Side<'_>) -> Option<&Explanation> {
        let mut decisions = self.decisions.iter();
        let (_, decided) = decisions.find(|(name, _)| *name == side.name)?;
        Some(&decided.explanation)
    }

    /// Returns the lines of the report, not yet escaped.
    pub(super) fn lines(&self) -> Vec<String> {
        let EvaluateRequest {
            actor_id,
            action_type,
            resource_id,
            actors,
            ..
        } = &self.request;
        let mut lines = vec![format!("  agent: {actor_id}")];
        lines.extend(actors.iter().map(|actor| format!("  actor: {actor}")));
        lines.push(format!("  action: {action_type}"));
        lines.extend((resource_id.iter()).map(|resource| format!("  resource: {resource}")));
        lines.push(format!("  context: {}", self.context));
        lines.extend((self.entities.iter()).map(|entity| format!("  entity: {entity}")));
        lines.extend(
            (self.decisions.iter()).map(|(name, decided)| format!("  {name}: {}", decided.text())),
        );
        for (_, decided) in &self.decisions {
            let errors = decided.explanation.errors.iter();
            lines.extend(errors.map(|error| format!("  error: {error}")));
        }
        lines
    }

    pub(super) fn json(&self) -> Value {
        let decisions: Map<String, Value> = (self.decisions.iter())
            .map(|(name, decided)| (name.to_lowercase(), decided.json()))
            .collect();
        let mut json = self.request_json();
        if let Some(object) = json.as_object_mut() {
            object.insert("entities".to_owned(), self.entities.clone().into());
            object.insert("decisions".to_owned(), decisions.into());
        }
        json
    }

    fn request_json(&self) -> Value {
        let json = json!({
            "agent": self.request.actor_id,
            "action": self.request.action_type,
            "context": self.context,
        });
        let actors = Some(&self.request.actors).filter(|actors| !actors.is_empty());
        let json = json::with_member(json, "actors", actors.map(|actors| json!(actors)));
        json::with_member(json, "resource", self.request.resource_id.as_deref())
    }

    /// Returns a case for `policy test` that passes with the first policy set.
    pub(super) fn case(&self, name: &str) -> Value {
        let case = json::with_member(self.request_json(), "name", Some(name));
        let decided = (self.decisions.first()).map(|(_, decided)| &decided.explanation);
        let decision = decided.map(|explanation| explanation.decision.as_str());
        let case = json::with_member(case, "expect", decision);
        let code = decided.and_then(|explanation| explanation.code.as_deref());
        json::with_member(case, "code", code)
    }
}

fn decisions(sides: &[Side<'_>], request: &EvaluateRequest) -> Vec<(&'static str, Decided)> {
    let decisions = sides.iter();
    decisions
        .map(|side| (side.name, Decided::new(side.policies, request)))
        .collect()
}

/// Writes a value as the JSON that becomes it, by its declared type.
fn as_json(
    value: &EvalResult,
    kind: &AttributeType<'_>,
    named: &mut Vec<EntityUid>,
) -> Result<Value, String> {
    let misfit = || format!("`{value}` has another type than the schema declares");
    Ok(match (value, kind) {
        (EvalResult::Bool(value), _) => (*value).into(),
        (EvalResult::Long(value), _) => (*value).into(),
        (EvalResult::String(text), _) => text.as_str().into(),
        (EvalResult::EntityUid(uid), _) => {
            named.push(uid.clone());
            uid.id().unescaped().into()
        }
        (EvalResult::Set(values), AttributeType::Set(set)) => {
            let values = values.iter();
            let values = values.map(|value| as_json(value, &set.element(), named));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        (EvalResult::Record(values), AttributeType::Record(record)) => {
            record_json(values, *record, named)?
        }
        (EvalResult::ExtensionValue(text), kind) => {
            // The only string in the text of a value: `decimal("1.0")`, `ip("::1")`,
            // `duration("5ms")`, or the last one: `datetime("1970-01-01").offset(duration("5ms"))`.
            let text = text.rsplit('"').nth(1).ok_or_else(misfit)?;
            match kind {
                AttributeType::Datetime => datetime(text).ok_or_else(|| {
                    format!("a request cannot state the datetime {text} after 1970-01-01")
                })?,
                _ => text.into(),
            }
        }
        _ => return Err(misfit()),
    })
}

fn record_json(
    values: &cedar_policy::Record,
    record: RecordDescription<'_>,
    named: &mut Vec<EntityUid>,
) -> Result<Value, String> {
    let mut object = Map::new();
    for attribute in record.attributes() {
        if let Some(value) = values.get(attribute.name()) {
            let value = as_json(value, &attribute.attribute_type(), named)?;
            object.insert(attribute.name().to_owned(), value);
        }
    }
    Ok(Value::Object(object))
}

/// Writes the datetime that is a number of milliseconds (`5ms`) after the start of 1970.
fn datetime(since_epoch: &str) -> Option<Value> {
    let milliseconds = since_epoch.strip_suffix("ms")?.parse().ok()?;
    let timestamp = Timestamp::from_millisecond(milliseconds).ok()?;
    let text = timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    // Years before 0 and after 9999 have a sign or a fifth digit.
    (text.len() == "0000-00-00T00:00:00.000Z".len()).then(|| text.into())
}
