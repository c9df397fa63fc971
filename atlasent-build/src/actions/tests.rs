use super::*;

const HEAD: &str = "entity Agent, Resource, Team;\n";

/// The text for a schema with these declarations.
fn written(schema: &str) -> String {
    let builder = Policies::builder().schema("s", format!("{HEAD}{schema}"));
    let builder = builder.source("p", "permit (principal, action, resource);");
    write(&builder.build().unwrap())
}

/// The messages of the `compile_error!`s.
fn problems(schema: &str) -> Vec<String> {
    let text = written(schema);
    let errors = text
        .lines()
        .filter_map(|line| line.strip_prefix("::core::compile_error!("));
    errors
        .map(|line| line.trim_end_matches(");").replace("\\\"", "\""))
        .collect()
}

fn action(name: &str, context: &str) -> String {
    format!(
        "action {name} appliesTo {{ principal: Agent, resource: Resource, context: {{ {context} }} }};\n"
    )
}

#[test]
fn an_action_is_a_struct_with_the_documentation_of_the_schema() {
    let deploy = action(
        "\"deploy.production\"",
        "@doc(\"How many.\") replicas: Long, team?: Team, client: { ip: ipaddr }",
    );
    let text = written(&format!("@doc(\"Rolls \\\"it\\\" out.\") {deploy}"));
    let text = text.replace(ALLOWED, "#[allow(…)]");
    assert_eq!(
        text,
        r##"// Written by `atlasent-build`.

#[doc = "Rolls \"it\" out.\n\nThe action `deploy.production`."]
#[allow(…)]
#[derive(Clone, Debug, PartialEq, Eq, Hash, __atlasent::Action)]
#[action("deploy.production", crate = __atlasent)]
pub struct DeployProduction {
    #[doc = "`client: a record`"]
    pub client: self::records::DeployProductionClient,
    #[doc = "How many.\n\n`replicas: Long`"]
    pub replicas: ::core::primitive::i64,
    #[doc = "`team?: Team`"]
    pub team: ::core::option::Option<self::entities::Team>,
}

#[doc = "The types of entities in the schema."]
#[allow(…)]
pub mod entities {
    use super::__atlasent;

    __atlasent::__policy_entity! {
        #[doc = "The id of an entity of the type `Team`."]
        pub struct Team = "Team";
    }
}

#[doc = "The records of the schema."]
#[allow(…)]
pub mod records {
    use super::__atlasent;

    #[doc = "A record of the schema."]
    #[allow(…)]
    #[derive(Clone, Debug, PartialEq, Eq, Hash, __atlasent::schema::generated::serde::Serialize)]
    #[serde(crate = "__atlasent::schema::generated::serde")]
    #[derive(__atlasent::PolicyRecord)]
    #[record("deploy.production", "client", crate = __atlasent)]
    pub struct DeployProductionClient {
        #[doc = "`ip: ipaddr`"]
        #[serde(rename = "ip")]
        pub ip: __atlasent::schema::IpRange,
    }
}

"##
    );
}

#[test]
fn a_schema_without_actions_has_no_items() {
    assert_eq!(written(""), "// Written by `atlasent-build`.\n\n");
}

#[test]
fn two_names_that_become_one_are_an_error_until_the_schema_chooses() {
    let both = format!(
        "{}{}",
        action("\"deploy.all\"", ""),
        action("deploy_all", "")
    );
    let [problem] = &problems(&both)[..] else {
        panic!("{both}");
    };
    assert!(
        problem.contains(
            "action `deploy.all` and action `deploy_all` both have the Rust name `DeployAll`"
        ),
        "{problem}"
    );
    let chosen = both.replace(
        "action deploy_all",
        "@rust_name(\"DeployEverything\") action deploy_all",
    );
    assert_eq!(problems(&chosen), [""; 0]);
    assert!(written(&chosen).contains("pub struct DeployEverything;"));

    let fields = action("deploy", "commitSha: String, commit_sha: String");
    let [problem] = &problems(&fields)[..] else {
        panic!("{fields}");
    };
    assert!(
        problem.contains("attribute `commitSha` of action `deploy`"),
        "{problem}"
    );
    let chosen = fields.replace("commitSha", "@rust_name(\"sha\") commitSha");
    assert!(written(&chosen).contains("#[action(rename = \"commitSha\")]\n    pub sha: "));
}

#[test]
fn a_name_that_rust_cannot_have_is_an_error_that_says_what_to_do() {
    for (schema, says) in [
        (
            action("\"???\"", ""),
            "action `???` has a name without letters and digits",
        ),
        (
            action("a", "\"!\": Long"),
            "attribute `!` of action `a` has a name without",
        ),
        (
            format!("@rust_name(\"type\") {}", action("a", "")),
            "action `a` has `@rust_name(\"type\")`, which is no Rust name",
        ),
        (
            format!("@rust_name(\"entities\") {}", action("a", "")),
            "`entities` of `include_actions!` and action `a` both have",
        ),
        (
            format!(
                "entity Size enum [\"+\", \"-\"]; {}",
                action("a", "size: Size")
            ),
            "id `+` of entity type `Size` has a name without",
        ),
        (
            format!("entity team; {}", action("a", "a: Team, b: team")),
            "entity type `Team` and entity type `team` both have",
        ),
        (
            format!(
                "type Acl = {{ a: Long }}; type ACL = {{ b: Long }}; {}",
                action("a", "a: Acl, b: ACL")
            ),
            "`type Name = { … };` for a record",
        ),
    ] {
        let problems = problems(&schema);
        assert!(
            problems.iter().any(|problem| problem.contains(says)),
            "{problems:#?}"
        );
    }
}

#[test]
fn the_resource_is_one_required_text() {
    assert!(
        written(&action("a", "@resource id: Long")).contains("#[action(resource)]\n    pub id: ")
    );
    for (context, says) in [
        (
            "@resource a: Long, @resource b: Long",
            "more than one attribute with `@resource`",
        ),
        (
            "@resource a?: Long",
            "attribute `a` of action `a` cannot be the resource",
        ),
        ("@resource a: Set<Long>", "is neither a set nor a record"),
        ("@resource a: { b: Long }", "is neither a set nor a record"),
    ] {
        let problems = problems(&action("a", context));
        assert!(problems[0].contains(says), "{problems:#?}");
    }
}

#[test]
fn records_that_are_made_of_each_other_are_written_once() {
    // Written out, these would be 4,096 records.
    let levels: String = (1..13)
        .map(|n| format!("type T{n} = Set<{{ a: T{0}, b: T{0} }}>;\n", n - 1))
        .collect();
    let text = written(&format!(
        "type T0 = Long;\n{levels}{}",
        action("a", "a: T12, b: T12")
    ));
    assert_eq!(text.matches("serde::Serialize").count(), 12);
    // The index does not write so large a record down, so there is nothing to compare with.
    assert_eq!(text.matches("#[action(unchecked_policy)]").count(), 2);
    assert!(!text.contains("PolicyRecord"));
}
