//! Each action of a schema is a struct, and each value that the struct can have is one that the
//! authority accepts.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use atlasent::schema::{Datetime, Decimal, IpRange, TimeSpan};
use atlasent::{Action, Error, NamedAction, Permit, blocking, protect, sites};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests_included::POLICIES;
use atlasent_tests_included::actions::entities::{AgentGroup, BankBranch, Color, Team};
use atlasent_tests_included::actions::records::{
    BankMoney, Client, SharedNote, TypesRequiredEmpty, TypesRequiredRecord,
    TypesRequiredRecordDeep, TypesRequiredRecordDeepDeeper,
};
use atlasent_tests_included::actions::{
    self, DeployProduction, Odd, Self_, SharedOne, SharedTwo, TypesOptional, TypesRequired,
};

static AUTHORITY: LazyLock<LocalAuthority> = LazyLock::new(|| {
    LocalAuthority::in_memory(Policies::from_embedded(&POLICIES).unwrap()).unwrap()
});

/// The authority accepts an action whatever its values, since its schema has their types.
fn is_accepted(action: impl Action) -> String {
    let context = action.context().unwrap().canonical_json().to_owned();
    drop(blocking::protect(&*AUTHORITY, "bot", action).unwrap());
    context
}

fn client() -> Client {
    Client {
        ip: Ipv4Addr::LOCALHOST.into(),
        user_agent: None,
    }
}

fn required() -> TypesRequired {
    TypesRequired {
        flag: true,
        count: i64::MIN,
        name: "a name".to_owned(),
        price: "-19.99".parse().unwrap(),
        address: "10.0.0.0/8".parse().unwrap(),
        at: "2026-01-31T12:00:00Z".parse().unwrap(),
        within: "1h30m".parse().unwrap(),
        counts: vec![1, 2],
        nested: vec![vec![Decimal::from(1)], vec![]],
        team: "ops".into(),
        teams: vec![AgentGroup::new("all")],
        color: Color::DarkBlue,
        colors: Color::IDS.to_vec(),
        branch: BankBranch::new("7"),
        client: client(),
        clients: vec![client()],
        paid: BankMoney {
            cents: 100,
            currency: "EUR".to_owned(),
        },
        record: TypesRequiredRecord {
            deep: TypesRequiredRecordDeep {
                deeper: TypesRequiredRecordDeepDeeper {
                    client: client(),
                    colors: Some(vec![Color::Red]),
                },
            },
        },
        empty: TypesRequiredEmpty {},
    }
}

#[test]
fn a_value_of_each_type_is_accepted() {
    assert_eq!(
        is_accepted(required()),
        r#"{"address":"10.0.0.0/8","at":"2026-01-31T12:00:00.000Z","branch":"7","client":{"ip":"127.0.0.1","user agent":null},"clients":[{"ip":"127.0.0.1","user agent":null}],"color":"dark-blue","colors":["dark-blue","red"],"count":-9223372036854775808,"counts":[1,2],"empty":{},"flag":true,"name":"a name","nested":[["1.0"],[]],"paid":{"cents":100,"currency":"EUR"},"price":"-19.99","record":{"deep":{"deeper":{"client":{"ip":"127.0.0.1","user agent":null},"colors":["red"]}}},"team":"ops","teams":["all"],"within":"1h30m"}"#
    );
}

#[test]
fn an_optional_value_is_an_option() {
    is_accepted(TypesOptional::default());
    is_accepted(TypesOptional {
        flag: Some(false),
        count: Some(0),
        name: Some(String::new()),
        price: Some(Decimal::default()),
        address: Some("::ffff:10.0.0.1".parse().unwrap()),
        at: Some("2026-01-31".parse().unwrap()),
        within: Some(TimeSpan::default()),
        counts: Some(vec![]),
        team: Some(Team::from(String::from("ops"))),
        color: Some("red".parse().unwrap()),
        client: Some(client()),
    });
}

/// The extremes of the types, which the policies' engine has to read as well.
#[test]
fn every_value_of_a_type_is_one_that_policies_read() {
    for price in [i64::MIN, -1, 0, 1, i64::MAX] {
        let price = Some(Decimal::from_ten_thousandths(price));
        is_accepted(TypesOptional {
            price,
            ..TypesOptional::default()
        });
    }
    for within in [i64::MIN, -1, 0, 1, i64::MAX] {
        let within = Some(TimeSpan::from_millis(within));
        is_accepted(TypesOptional {
            within,
            ..TypesOptional::default()
        });
    }
    for at in [
        "0000-01-01",
        "1969-12-31T23:59:59.999Z",
        "9999-12-30T22:00:00.999Z",
    ] {
        let at = Some(at.parse::<Datetime>().unwrap());
        is_accepted(TypesOptional {
            at,
            ..TypesOptional::default()
        });
    }
    for address in [
        "0.0.0.0/0",
        "255.255.255.255",
        "::",
        "::1/127",
        "::ffff:1.2.3.4/97",
        "::1.2.3.4",
    ] {
        let address = Some(address.parse::<IpRange>().unwrap());
        is_accepted(TypesOptional {
            address,
            ..TypesOptional::default()
        });
    }
}

#[test]
fn an_entity_of_an_enum_type_has_the_listed_ids_alone() {
    assert_eq!(Color::DarkBlue.to_string(), "dark-blue");
    assert_eq!(Color::ENTITY_TYPE, "Color");
    let error = "green".parse::<Color>().unwrap_err().to_string();
    assert!(
        error.contains("has no id `green`: use one of dark-blue, red"),
        "{error}"
    );
}

#[test]
fn an_action_has_the_name_the_resource_and_the_keys_of_the_schema() {
    let deploy = DeployProduction {
        commit_sha: "4f2a".to_owned(),
        replicas: 3,
        tags: None,
    };
    assert_eq!(DeployProduction::NAME, "deploy.production");
    assert_eq!(deploy.resource().as_deref(), Some("4f2a"));
    assert_eq!(
        is_accepted(deploy.clone()),
        r#"{"commitSha":"4f2a","replicas":3,"tags":null}"#
    );
    let frozen = DeployProduction {
        commit_sha: "frozen".to_owned(),
        ..deploy
    };
    assert!(blocking::protect(&*AUTHORITY, "bot", frozen).is_err());
}

#[test]
fn a_name_that_rust_has_or_cannot_have_is_still_an_action() {
    for (name, action) in [
        (actions::String::NAME, is_accepted(actions::String)),
        (actions::Option::NAME, is_accepted(actions::Option)),
        (Self_::NAME, is_accepted(Self_)),
        (actions::Ok::NAME, is_accepted(actions::Ok)),
        (actions::None::NAME, is_accepted(actions::None)),
        (actions::Action::NAME, is_accepted(actions::Action)),
        (actions::V1_2::NAME, is_accepted(actions::V1_2)),
        (actions::V12::NAME, is_accepted(actions::V12)),
        (actions::_2faReset::NAME, is_accepted(actions::_2faReset)),
    ] {
        assert_eq!(action, "{}", "{name}");
    }
    assert_eq!(Odd::NAME, "???");
    let odd = Odd {
        r#type: 1,
        self_: 2,
        big_self: 3,
        crate_: 4,
        odd_key: 5,
        bang: 6,
        _2nd: 7,
    };
    assert_eq!(
        is_accepted(odd),
        r#"{"!":6,"2nd":7,"Self":3,"crate":4,"odd {key} \"\n":5,"self":2,"type":1}"#
    );
}

#[test]
fn a_context_that_two_actions_share_has_shared_records() {
    let note = Some(SharedNote {
        text: "a note".to_owned(),
    });
    is_accepted(SharedOne { note: note.clone() });
    is_accepted(SharedTwo { note });
}

#[protect(action = DeployProduction { commit_sha: commit.to_owned(), replicas: 1, tags: None }, agent = "bot", authority = authority)]
fn deploy(
    authority: &LocalAuthority,
    commit: &str,
    permit: Permit<DeployProduction>,
) -> Result<String, Error> {
    Ok(permit.into_action().commit_sha)
}

#[test]
fn a_protected_function_takes_an_included_action() {
    assert_eq!(deploy(&AUTHORITY, "4f2a").unwrap(), "4f2a");
    assert!(deploy(&AUTHORITY, "frozen").is_err());
}

#[test]
fn an_included_action_is_a_checked_site() {
    let sites = sites();
    let site = sites
        .iter()
        .find(|site| site.action() == Some("types.required"));
    let site = site.unwrap();
    assert_eq!(site.type_name(), Some("TypesRequired"));
    assert!(site.is_checked());
    // One for the struct, and one for the function.
    let deploys = sites
        .iter()
        .filter(|site| site.action() == Some("deploy.production"));
    assert_eq!(deploys.count(), 2);
}
