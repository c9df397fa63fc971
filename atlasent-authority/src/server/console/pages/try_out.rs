//! "What would happen": shows what the policies would decide on a request, without making it.

use atlasent::wire::{EvaluateRequest, StopScope};
use atlasent::{Agent, AnyAction, Context, Decision};
use axum::extract::Request;
use axum::response::Response;
use maud::{Markup, html};

use crate::keys::ApiScope;
use crate::ledger::stops::Stop;
use crate::policy::fields::parse_amount;
use crate::policy::{Explanation, Policies};
use crate::server::api_error::ApiError;
use crate::server::console::form::Form;
use crate::server::console::layout::{Section, badge, facts};
use crate::server::console::text::shown;
use crate::server::console::visit::Visit;
use crate::store::Store;

const PATH: &str = "/console/policies/try";

/// The longest name, and the longest context, in characters.
const LONGEST_NAME: usize = 256;
const LONGEST_RESOURCE: usize = 512;
const LONGEST_CONTEXT: usize = 64 * 1024;

/// The fields of the form.
#[derive(Debug, Default)]
pub(super) struct Question {
    agent: String,
    action: String,
    resource: Option<String>,
    environment: Option<String>,
    amount: Option<String>,
    context: String,
}

impl Question {
    fn read(form: &Form) -> Result<Self, ApiError> {
        Ok(Self {
            agent: form.required("agent", LONGEST_NAME)?,
            action: form.required("action", LONGEST_NAME)?,
            resource: form.text("resource", LONGEST_RESOURCE)?,
            environment: form.text("environment", LONGEST_NAME)?,
            amount: form.text("amount", 64)?,
            context: form.text("context", LONGEST_CONTEXT)?.unwrap_or_default(),
        })
    }

    /// The request that the policies decide.
    fn request(&self) -> Result<EvaluateRequest, ApiError> {
        let action = AnyAction::new(self.action.clone())?;
        let mut request = EvaluateRequest::new(Agent::new(&*self.agent)?, &action)?;
        request.context = match self.context.trim() {
            "" => Context::new(),
            context => Context::parse(context)?,
        };
        request.resource_id.clone_from(&self.resource);
        request.options.environment.clone_from(&self.environment);
        let amount = self.amount.as_deref();
        request.options.amount = amount.map(|text| parse_amount(text.trim())).transpose()?;
        // Nothing here is recorded. If it ever were, it would still grant nothing.
        request.shadow = Some(true);
        Ok(request)
    }
}

/// The form, with what was filled in before.
pub(super) fn form<S: Store>(visit: &Visit<S>, question: &Question) -> Markup {
    html! {
        form.panel method="post" action=(PATH) {
            (visit.token())
            p.hint { "The policies in force decide. Nothing is recorded, no permit is issued, and no approval is asked for." }
            label for="agent" { "Agent" }
            input #agent name="agent" required maxlength=(LONGEST_NAME) value=(question.agent);
            label for="action" { "Action" }
            input #action name="action" required maxlength=(LONGEST_NAME) value=(question.action);
            label for="resource" { "Resource (optional)" }
            input #resource name="resource" maxlength=(LONGEST_RESOURCE) value=[&question.resource];
            label for="environment" { "Environment (optional)" }
            input #environment name="environment" maxlength=(LONGEST_NAME) value=[&question.environment];
            label for="amount" { "Amount (optional)" }
            input #amount name="amount" maxlength="64" inputmode="decimal" value=[&question.amount];
            label for="context" { "Context, as a JSON object" }
            textarea.mono #context name="context" maxlength=(LONGEST_CONTEXT) spellcheck="false" placeholder="{}" {
                // A parser drops the first line feed of a text area.
                "\n" (question.context)
            }
            button type="submit" { "Ask the policies" }
        }
    }
}

/// Answers `POST /console/policies/try`. It changes nothing; a form of the method POST keeps the
/// context out of addresses and logs.
pub(in crate::server::console) async fn answer<S: Store>(
    visit: Visit<S>,
    request: Request,
) -> Result<Response, ApiError> {
    visit.caller.require_scope(ApiScope::Evaluate)?;
    let form_data = Form::read(request, &visit.session).await?;
    visit.caller.org.check_policies()?;
    let question = Question::read(&form_data)?;
    let asked = question.request()?;
    let policies = visit.authority().policies();
    let explanation = policies.explain(&asked);
    let stops = visit.authority().stops().await?;
    let is_test = visit.caller.key.environment.as_str() == "test";
    let covers = |scope: &StopScope| scope.covers(&question.agent, &question.action);
    let stops: Vec<&Stop> = stops
        .iter()
        .filter(|stop| covers(&stop.scope) && (is_test || !stop.test_only))
        .collect();
    let content = html! {
        h1 { "What would happen" }
        p.hint { "Nothing was recorded: no permit, no pending approval, no event." }
        (verdict(&explanation, &policies))
        @for stop in &stops {
            p.verdict { "A stop covers it, so it would be denied now: " (stop.scope) ", " (shown(&stop.reason)) }
        }
        h2 { "Ask again" }
        (form(&visit, &question))
    };
    Ok(visit.page(Section::Policies, "What would happen", &content))
}

fn verdict(explanation: &Explanation, policies: &Policies) -> Markup {
    let colour = |decision: Decision| match decision {
        Decision::Allow => "good",
        Decision::Deny => "bad",
        Decision::Hold | Decision::Escalate => "wait",
    };
    let decision = explanation.decision;
    let mut about = vec![
        ("Decision", badge(colour(decision), decision.as_str())),
        ("Reason", html! { (shown(&explanation.reason)) }),
    ];
    if let Some(code) = &explanation.code {
        about.push(("Code", html! { code { (shown(code)) } }));
    }
    if !explanation.determining.is_empty() {
        about.push(("Decided by", deciding(explanation, policies)));
    }
    if !explanation.approval.is_empty() {
        let rules = html! {
            ul { @for rule in &explanation.approval { li { (shown(&rule.to_string())) } } }
        };
        about.push(("Released by", rules));
    }
    if let Some(released) = explanation.released {
        about.push(("Once released", badge(colour(released), released.as_str())));
    }
    if !explanation.errors.is_empty() {
        let errors = html! {
            ul { @for error in &explanation.errors { li { (shown(error)) } } }
        };
        about.push(("Errors", errors));
    }
    if let Some(hint) = &explanation.hint {
        about.push(("Hint", html! { (shown(hint)) }));
    }
    about.push(("Policies", html! { code { (policies.digest()) } }));
    facts(&about)
}

fn deciding(explanation: &Explanation, policies: &Policies) -> Markup {
    html! {
        @for (index, id) in explanation.determining.iter().enumerate() {
            @if index > 0 { ", " }
            (shown(id))
            @if let Some(place) = policies.place(id) { " (" (shown(&place)) ")" }
        }
    }
}
