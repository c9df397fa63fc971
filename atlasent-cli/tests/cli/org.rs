//! `atlasent org`, and API keys of organizations: in the data directory and in a database.

use std::fs;
use std::path::Path;

use atlasent_authority::Policies;
use atlasent_tests::postgres::PrivatePostgres;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent};

/// The location of the organizations of a test.
struct Place {
    data: TempDir,
    /// The URL of the database, if the organizations are in one.
    database: Option<String>,
}

impl Place {
    fn folder() -> Self {
        Self {
            data: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    /// Returns the data directory and, if this machine has PostgreSQL, a database.
    fn all() -> Vec<Self> {
        let mut places = vec![Self::folder()];
        if let Some(server) = PrivatePostgres::shared() {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            places.push(Self {
                database: Some(runtime.block_on(server.database())),
                ..Self::folder()
            });
        }
        places
    }

    /// Returns the options that select the location.
    fn options(&self) -> [&str; 2] {
        match &self.database {
            Some(_) => ["--store-env", "DATABASE"],
            None => ["--data-dir", self.data.path().to_str().unwrap()],
        }
    }

    fn run(&self, arguments: &[&str]) -> Atlasent {
        let run = atlasent(arguments.iter().copied().chain(self.options()));
        match &self.database {
            Some(url) => run.env("DATABASE", url),
            None => run,
        }
    }

    fn list(&self, command: &str) -> Vec<Value> {
        let text = self.run(&[command, "list", "--json"]).prints();
        serde_json::from_str(&text).unwrap()
    }

    /// Creates a key. Returns its id.
    fn create_key(&self, more: &[&str]) -> String {
        let ended = self.run(&[&["key", "create"], more].concat()).run();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let (_, id) = ended.stderr.trim().rsplit_once(' ').unwrap();
        id.trim_end_matches('`').to_owned()
    }
}

fn denies_everything(folder: &Path) -> bool {
    let policies = Policies::from_dir(folder).unwrap();
    let text = fs::read_to_string(folder.join("policies.cedar")).unwrap();
    let statements = text.lines().filter(|line| !line.starts_with("//"));
    policies.len() == 1 && !statements.collect::<String>().contains("permit")
}

#[test]
fn an_organization_is_created_once_with_the_limits_that_are_given() {
    for place in Place::all() {
        let empty = place.run(&["org", "list"]).prints();
        assert_eq!(
            empty,
            "no organizations but `local`: create one with `atlasent org create`\n"
        );
        let limits = [
            "--name",
            "Acme Inc.",
            "--rate-limit",
            "6000",
            "--max-permits",
            "10",
            "--max-approvals",
            "20",
            "--max-events",
            "1000",
            "--retain-days",
            "90",
        ];
        place
            .run(&[&["org", "create", "b-acme"], &limits[..]].concat())
            .prints();
        place.run(&["org", "create", "a"]).prints();
        let line = place.run(&["org", "create", "b-acme"]).misuse();
        assert_eq!(
            line,
            "the organization `b-acme` exists already: change it with `atlasent org set`"
        );
        assert_eq!(
            place.run(&["org", "list"]).prints(),
            "a  good       -  -\n\
             b-acme  good       rate-limit=6000,max-permits=10,max-approvals=20,max-events=1000,retain-days=90  Acme Inc.\n"
        );
        let [a, acme] = &place.list("org")[..] else {
            panic!("two organizations");
        };
        let expected = json!({
            "org_id": "b-acme", "name": "Acme Inc.", "state": "good", "created_at": acme["created_at"],
            "suspended_at": null, "suspension_reason": null, "rate_limit_per_minute": 6000,
            "max_permits": 10, "max_approvals": 20, "max_events": 1000, "retain_days": 90
        });
        assert_eq!(acme, &expected);
        assert_eq!(a["org_id"], "a");
        assert!(a["rate_limit_per_minute"].is_null() && a["retain_days"].is_null());
    }
}

#[test]
fn the_policies_of_a_new_organization_are_in_the_data_directory_and_deny_everything() {
    let place = Place::folder();
    let data = place.data.path();
    let folder = data.canonicalize().unwrap();
    let folder = folder.join("organizations/acme/policies");
    let printed = place.run(&["org", "create", "acme"]).prints();
    let (data, shown) = (data.display(), folder.display());
    assert_eq!(
        printed,
        format!(
            "created acme\n\
             wrote {shown}/policies.cedar, which denies every request\n\
             Next, write its policies and create an API key:\n  \
               policies: {shown}\n  \
               atlasent key create --org acme --data-dir {data}\n"
        )
    );
    assert!(denies_everything(&folder));
    atlasent(["policy", "check", folder.to_str().unwrap()]).prints();
}

#[test]
fn policies_that_are_there_stay_as_they_are() {
    let place = Place::folder();
    let folder = place.data.path().join("organizations/acme/policies");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("own.cedar"),
        "permit (principal, action, resource);",
    )
    .unwrap();
    let printed = place.run(&["org", "create", "acme"]).prints();
    assert!(!printed.contains("wrote "), "{printed}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn the_folder_of_all_policies_may_be_elsewhere() {
    for place in Place::all() {
        let base = place.data.path().join("etc/organizations");
        let option = ["--org-policies", base.to_str().unwrap()];
        place
            .run(&[&["org", "create", "acme"], &option[..]].concat())
            .prints();
        assert!(denies_everything(&base.join("acme")));
        assert!(!place.data.path().join("organizations").exists());
    }
}

#[test]
fn a_database_without_a_folder_of_policies_gets_no_policies() {
    for place in Place::all().into_iter().skip(1) {
        let printed = place.run(&["org", "create", "acme"]).prints();
        assert_eq!(
            printed,
            "created acme\n\
             Next, write its policies and create an API key:\n  \
               policies: `organizations/acme/policies` in the data directory of each server\n  \
               atlasent key create --org acme --store-env DATABASE\n"
        );
    }
}

#[test]
fn an_organization_whose_policies_cannot_be_written_is_not_created() {
    let place = Place::folder();
    fs::write(place.data.path().join("organizations"), "a file").unwrap();
    let line = place.run(&["org", "create", "acme"]).misuse();
    assert!(line.starts_with("cannot write `"), "{line}");
    assert!(place.list("org").is_empty());
}

#[cfg(unix)]
#[test]
fn policies_are_not_written_through_a_link() {
    let (place, elsewhere) = (Place::folder(), tempfile::tempdir().unwrap());
    let link = place.data.path().join("organizations");
    std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();
    let line = place.run(&["org", "create", "acme"]).misuse();
    assert!(line.contains("is a link"), "{line}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn limits_are_changed_one_by_one_and_cleared() {
    for place in Place::all() {
        place
            .run(&["org", "create", "acme", "--rate-limit", "5"])
            .prints();
        let set = |more: &[&str]| place.run(&[&["org", "set", "acme"], more].concat());
        assert_eq!(
            set(&["--max-permits", "7", "--name", "Acme"]).prints(),
            "acme  good       rate-limit=5,max-permits=7  Acme\n"
        );
        assert_eq!(
            set(&["--rate-limit", "none", "--retain-days", "1"]).prints(),
            "acme  good       max-permits=7,retain-days=1  Acme\n"
        );
        let clear = [
            "--max-permits",
            "none",
            "--retain-days",
            "none",
            "--name",
            "",
        ];
        assert_eq!(set(&clear).prints(), "acme  good       -  -\n");
        let line = set(&[]).misuse();
        assert!(
            line.starts_with("nothing to change: give `--name`"),
            "{line}"
        );
    }
}

#[test]
fn an_organization_is_suspended_and_resumed() {
    for place in Place::all() {
        place.run(&["org", "create", "acme"]).prints();
        let suspend = |reason: &str| place.run(&["org", "suspend", "acme", "--reason", reason]);
        let resume = || place.run(&["org", "resume", "acme"]);
        assert_eq!(
            resume().misuse(),
            "the organization `acme` is not suspended"
        );
        assert_eq!(suspend("unpaid").prints(), "suspended acme\n");
        assert_eq!(
            place.run(&["org", "list"]).prints(),
            "acme  suspended  -  -\n"
        );
        let line = suspend("another reason").misuse();
        assert!(
            line.starts_with("the organization `acme` is suspended already"),
            "{line}"
        );
        let [acme] = &place.list("org")[..] else {
            panic!("one organization");
        };
        assert_eq!(acme["suspension_reason"], "unpaid");
        assert!(acme["suspended_at"].is_string());
        assert_eq!(resume().prints(), "resumed acme\n");
        assert_eq!(place.list("org")[0]["state"], "good");
        let line = suspend(" ").misuse();
        assert_eq!(line, "`--reason` is empty: give a reason");
    }
}

#[test]
fn unknown_organizations_local_and_invalid_ids_are_errors() {
    for place in Place::all() {
        for command in [
            &["org", "set", "acme", "--name", "a"][..],
            &["org", "suspend", "acme", "--reason", "r"],
            &["org", "resume", "acme"],
        ] {
            let line = place.run(command).misuse();
            assert_eq!(
                line,
                "there is no organization `acme`: run `atlasent org list` for the ids"
            );
        }
        let line = place.run(&["key", "create", "--org", "acme"]).misuse();
        let options = place.options().join(" ");
        assert_eq!(
            line,
            format!(
                "there is no organization `acme`: create it with `atlasent org create acme {options}`"
            )
        );
        assert!(place.list("key").is_empty());
    }
    let place = Place::folder();
    for command in [
        &["org", "create"][..],
        &["org", "set", "--name", "a"],
        &["org", "suspend", "--reason", "r"],
        &["org", "resume"],
    ] {
        let ask = |id| place.run(&[command, &[id]].concat()).misuse();
        let line = ask("local");
        assert!(
            line.contains("`local` is the organization that every store has"),
            "{line}"
        );
        for id in ["", "ACME", "../etc", "a/b"] {
            let line = ask(id);
            assert!(
                line.contains("an organization's id has 1 to 64 of"),
                "{line}"
            );
        }
    }
    for limit in ["0", "-1", "1.5", "many", ""] {
        let option = format!("--rate-limit={limit}");
        let line = place.run(&["org", "create", "acme", &option]).misuse();
        assert!(
            line.contains("write a whole number of at least 1, or `none`"),
            "{line}"
        );
    }
    assert_eq!(fs::read_dir(place.data.path()).unwrap().count(), 0);
}

#[test]
fn a_key_belongs_to_the_organization_that_it_was_created_for() {
    for place in Place::all() {
        place.run(&["org", "create", "acme"]).prints();
        let local = place.create_key(&["--name", "one", "--scope", "verify"]);
        let line = format!("{local}  test  good     verify  one\n");
        assert_eq!(place.run(&["key", "list"]).prints(), line);

        let acme = place.create_key(&["--org", "acme", "--name", "two", "--scope", "stop"]);
        let also_local = place.create_key(&["--org", "local", "--scope", "stop"]);
        let lines = [
            format!("{local}  test  good     local  verify  one\n"),
            format!("{acme}  test  good     acme   stop  two\n"),
            format!("{also_local}  test  good     local  stop  -\n"),
        ];
        assert_eq!(place.run(&["key", "list"]).prints(), lines.concat());
        let keys = place.list("key");
        let orgs: Vec<_> = keys.iter().map(|key| &key["org_id"]).collect();
        assert_eq!(orgs, ["local", "acme", "local"]);

        let of = |id| place.run(&["key", "list", "--org", id]).prints();
        assert_eq!(
            of("acme"),
            format!("{acme}  test  good     acme  stop  two\n")
        );
        assert_eq!(of("local").lines().count(), 2);
        assert_eq!(
            of("other"),
            "no API keys: create one with `atlasent key create --org other`\n"
        );
    }
}

#[test]
fn a_key_for_a_suspended_organization_comes_with_a_warning() {
    let place = Place::folder();
    place.run(&["org", "create", "acme"]).prints();
    place
        .run(&["org", "suspend", "acme", "--reason", "r"])
        .prints();
    let ended = place.run(&["key", "create", "--org", "acme"]).run();
    assert_eq!(ended.code, 0);
    assert!(
        ended
            .stderr
            .starts_with("warning: the organization `acme` is suspended, so"),
        "{}",
        ended.stderr
    );
    let resume = format!(
        "until `atlasent org resume acme {}`",
        place.options().join(" ")
    );
    assert!(ended.stderr.contains(&resume), "{}", ended.stderr);
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let place = Place::folder();
    let name = "\u{1b}[2J\nb  good       -  -";
    place
        .run(&["org", "create", "acme", "--name", name])
        .prints();
    let list = place.run(&["org", "list"]).prints();
    assert_eq!(list.lines().count(), 1);
    assert!(!list.contains('\u{1b}'), "{list:?}");
}
