//! Describes protected routes in an OpenAPI document.

use atlasent_tower::Route;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, PathItem, Ref, RefOr, ResponseBuilder};

use crate::{HasAuthority, ProtectedRouter};

/// The name of the security scheme.
const SCHEME: &str = "ati";
/// The name of the schema of problem details.
const PROBLEM: &str = "Problem";

/// The responses of a protected operation that is refused. The statuses are those of `Refusal`.
const PROBLEMS: [(&str, &str); 4] = [
    (
        "401",
        "The request has no token, or the token is not accepted.",
    ),
    (
        "403",
        "The agent may not do this, or not yet: `decision` and `reason` say why. Or its token does not grant the scope.",
    ),
    ("429", "The agent calls more often than its token allows."),
    ("503", "The authorization could not be decided."),
];

impl<S> ProtectedRouter<S>
where
    S: HasAuthority + Clone + Send + Sync + 'static,
{
    /// Adds the protection of the routes to an OpenAPI document.
    ///
    /// Each protected operation gets its security requirement, its action as `x-atlasent-action`,
    /// and the responses 401, 403, 429 and 503 with problem details. Responses that are already
    /// described stay unchanged. Operations that are missing in the document are added, except a
    /// `HEAD` that the handler of `GET` answers (RFC 9110 §9.3.2).
    ///
    /// ```
    /// # use atlasent_axum::{Access, ProtectedRouter, SharedAuthority, TakePermit, get};
    /// use utoipa::OpenApi;
    ///
    /// #[derive(OpenApi)]
    /// #[openapi(paths(read))]
    /// struct Doc;
    ///
    /// #[utoipa::path(get, path = "/patients/{id}", responses((status = 200, description = "the record")))]
    /// async fn read(TakePermit(_): TakePermit) -> String {
    ///     "…".to_owned()
    /// }
    ///
    /// let app = ProtectedRouter::<SharedAuthority>::new()
    ///     .route("/patients/{id}", get(Access::action("read_patient_record").scope("tool:ehr:read"), read));
    /// let mut doc = Doc::openapi();
    /// app.describe(&mut doc);
    ///
    /// let doc = serde_json::to_value(&doc)?;
    /// let operation = &doc["paths"]["/patients/{id}"]["get"];
    /// assert_eq!(operation["security"][0]["ati"][0], "tool:ehr:read");
    /// assert_eq!(operation["responses"]["200"]["description"], "the record");
    /// assert!(operation["responses"]["403"]["content"]["application/problem+json"].is_object());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn describe(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "An ATI token, which names the agent and the tools that it may use.",
            ));
        let schemes = &mut components.security_schemes;
        schemes.insert(
            SCHEME.to_owned(),
            SecurityScheme::Http(scheme.build()).into(),
        );
        components
            .schemas
            .insert(PROBLEM.to_owned(), problem().into());

        for route in self.declared().filter(|route| !route.public) {
            let path = document_path(&route.path);
            let item = document.paths.paths.entry(path).or_default();
            if let Some(operation) = operation(item, &route.method) {
                protect(operation.get_or_insert_with(Operation::new), &route);
            }
        }
    }
}

fn protect(operation: &mut Operation, route: &Route) {
    let scopes = route.scope.iter().flat_map(|scopes| scopes.split(' '));
    let requirement = SecurityRequirement::new(SCHEME, scopes);
    let requirements = operation.security.get_or_insert_with(Vec::new);
    if !requirements.contains(&requirement) {
        requirements.push(requirement);
    }
    if let Some(action) = &route.action {
        let action = [("x-atlasent-action", action.as_str())];
        let extensions = operation.extensions.get_or_insert_default();
        extensions.merge(Extensions::from_iter(action));
    }
    for (status, description) in PROBLEMS {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| {
            let schema = RefOr::Ref(Ref::from_schema_name(PROBLEM));
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", Content::new(Some(schema)));
            RefOr::T(response.build())
        });
    }
}

/// Converts a path of axum to one of OpenAPI: `{*rest}` becomes `{rest}`.
fn document_path(path: &str) -> String {
    path.replace("{*", "{")
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Option<Operation>> {
    Some(match method {
        "GET" => &mut item.get,
        "POST" => &mut item.post,
        "PUT" => &mut item.put,
        "DELETE" => &mut item.delete,
        "OPTIONS" => &mut item.options,
        "HEAD" => &mut item.head,
        "PATCH" => &mut item.patch,
        "TRACE" => &mut item.trace,
        _ => return None,
    })
}

/// The schema of problem details (RFC 9457) with the members of refusals.
fn problem() -> utoipa::openapi::schema::Object {
    let text = |description: &str| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(description))
    };
    let status = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("The HTTP status."));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Why a request was refused (RFC 9457)."))
        .property("status", status)
        .required("status")
        .property("title", text("The name of the status."))
        .required("title")
        .property("detail", text("What went wrong, for people."))
        .required("detail")
        .property(
            "decision",
            text("`deny`, `hold` or `escalate`, if the authority refused."),
        )
        .property("reason", text("Why the authority refused, for people."))
        .property(
            "code",
            text("Why the authority refused, as a code for programs."),
        )
        .property(
            "evaluation_id",
            text("The authority's id of the evaluation, to quote in a question about it."),
        )
        .property(
            "scope",
            text("The ATI scope that the token does not grant."),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, SharedAuthority, get};

    #[test]
    fn an_operation_shows_every_scope_and_head_is_no_operation_of_its_own() {
        let access = Access::action("read").scope("tool:a").scope("tool:b");
        let router: ProtectedRouter<SharedAuthority> =
            ProtectedRouter::new().route("/a", get(access, async || "a"));
        let mut document = OpenApi::default();
        router.describe(&mut document);
        let document = serde_json::to_value(&document).unwrap();
        let item = document["paths"]["/a"].as_object().unwrap();
        assert_eq!(item.keys().collect::<Vec<_>>(), ["get"]);
        let scopes = &item["get"]["security"][0]["ati"];
        assert_eq!(*scopes, serde_json::json!(["tool:a", "tool:b"]));
    }
}
