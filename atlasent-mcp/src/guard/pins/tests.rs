use serde_json::json;

use super::file::MAX_FILE_BYTES;
use super::*;

fn tool(description: &str) -> (String, Value) {
    let tool =
        json!({"name": "send", "description": description, "inputSchema": {"type": "object"}});
    ("send".to_owned(), tool)
}

fn check(pins: &Pins, description: &str) -> PinCheck {
    pins.check(&[tool(description)], Timestamp::UNIX_EPOCH)
        .unwrap()[0]
}

#[test]
fn a_tool_is_pinned_at_first_sight_and_refused_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "mail").unwrap();
    assert_eq!(check(&pins, "Sends mail"), PinCheck::Same);
    assert_eq!(
        check(&pins, "Sends mail, and reads ~/.ssh"),
        PinCheck::Changed
    );
    // A guard that starts later compares with the same first definition.
    let later = Pins::open(folder.path(), "mail").unwrap();
    assert_eq!(
        check(&later, "Sends mail, and reads ~/.ssh"),
        PinCheck::Changed
    );
    assert_eq!(check(&later, "Sends mail"), PinCheck::Same);
}

#[test]
fn another_order_of_members_is_not_a_change() {
    let one: Value = serde_json::from_str(r#"{"a":{"c":1,"b":[{"y":1,"x":2}]},"n":"t"}"#).unwrap();
    let other: Value =
        serde_json::from_str(r#"{"n":"t","a":{"b":[{"x":2,"y":1}],"c":1}}"#).unwrap();
    assert_eq!(digest(&one), digest(&other));
}

#[test]
fn only_the_change_that_was_shown_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "mail").unwrap();
    check(&pins, "one");
    check(&pins, "two");
    let [(name, shown)] = &pins.changed()[..] else {
        panic!("one tool changed");
    };
    let shown = &shown.changed.as_ref().unwrap().sha256;
    // The server changes it once more before the person answers.
    check(&pins, "three");
    assert!(!pins.accept(name, shown, Timestamp::UNIX_EPOCH).unwrap());
    assert_eq!(check(&pins, "two"), PinCheck::Changed);
    assert!(pins.accept(name, shown, Timestamp::UNIX_EPOCH).unwrap());
    assert_eq!(check(&pins, "two"), PinCheck::Same);
    assert_eq!(check(&pins, "one"), PinCheck::Changed);
}

fn named(name: &str, bytes: usize) -> (String, Value) {
    (
        name.to_owned(),
        json!({"name": name, "description": "x".repeat(bytes)}),
    )
}

#[test]
fn tools_beyond_the_limit_are_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "mail").unwrap();
    for round in 0..3 {
        let tools: Vec<_> = (0..2_000)
            .map(|number| named(&format!("t{round}-{number}"), 1))
            .collect();
        let checks = pins.check(&tools, Timestamp::UNIX_EPOCH).unwrap();
        let same = checks.iter().filter(|check| **check == PinCheck::Same);
        assert_eq!(same.count(), [2_000, 2_000, MAX_TOOLS - 4_000][round]);
        assert!(!checks.contains(&PinCheck::Changed));
    }
    assert_eq!(load(&pins.path).unwrap().len(), MAX_TOOLS);
    // What was recorded still counts.
    let first = pins.check(&[named("t0-0", 1)], Timestamp::UNIX_EPOCH);
    assert_eq!(first.unwrap(), [PinCheck::Same]);
}

#[test]
fn large_definitions_leave_a_file_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "mail").unwrap();
    let large = MAX_DEFINITION_BYTES - 100;
    let tools: Vec<_> = (0..20)
        .map(|number| named(&format!("t{number:02}"), large))
        .collect();
    let checks = pins.check(&tools, Timestamp::UNIX_EPOCH).unwrap();
    let same = checks.iter().filter(|check| **check == PinCheck::Same);
    assert_eq!(same.count(), MAX_TOTAL_BYTES / MAX_DEFINITION_BYTES);
    // A change that has no room is a change all the same, and is not recorded.
    for bytes in [large, 10 * MAX_DEFINITION_BYTES] {
        let (name, mut changed) = named("t00", bytes);
        changed["more"] = true.into();
        let checks = pins.check(&[(name, changed)], Timestamp::UNIX_EPOCH);
        assert_eq!(checks.unwrap(), [PinCheck::Changed]);
    }
    assert!(pins.changed().is_empty());
    let (name, tool) = named("alone", MAX_DEFINITION_BYTES);
    let other = Pins::open(folder.path(), "other").unwrap();
    let checks = other.check(&[(name, tool)], Timestamp::UNIX_EPOCH);
    assert_eq!(checks.unwrap(), [PinCheck::NoRoom]);
    let again = Pins::open(folder.path(), "mail").unwrap();
    assert_eq!(
        again.check(&tools, Timestamp::UNIX_EPOCH).unwrap(),
        checks_of(&tools)
    );
}

/// The checks of tools of which only the first have room.
fn checks_of(tools: &[(String, Value)]) -> Vec<PinCheck> {
    let room = MAX_TOTAL_BYTES / MAX_DEFINITION_BYTES;
    (0..tools.len())
        .map(|place| match place < room {
            true => PinCheck::Same,
            false => PinCheck::NoRoom,
        })
        .collect()
}

#[test]
fn a_file_that_could_not_be_read_again_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "mail").unwrap();
    check(&pins, "one");
    let before = fs::read(&pins.path).unwrap();
    let grown = pins.change(|pins| {
        let definition = Value::from("x".repeat(MAX_FILE_BYTES as usize));
        pins.get_mut("send").unwrap().definition = definition;
    });
    let error = grown.unwrap_err();
    assert!(matches!(error, PinError::TooLarge { .. }), "{error}");
    assert_eq!(fs::read(&pins.path).unwrap(), before);
}

#[test]
fn a_damaged_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let pins = Pins::open(folder.path(), "mail").unwrap();
    check(&pins, "one");
    let path = folder.path().join("mail.json");
    let text = fs::read_to_string(&path).unwrap();
    for damaged in ["", "{}", &text.replace("one", "two")] {
        fs::write(&path, damaged).unwrap();
        assert!(Pins::open(folder.path(), "mail").is_err(), "{damaged}");
        let known = pins.check(&[tool("three")], Timestamp::UNIX_EPOCH);
        assert!(known.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
}

#[test]
fn a_name_that_leaves_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "..", "a/b", "a.b", "ü", &"a".repeat(65)] {
        assert!(
            matches!(Pins::open(folder.path(), name), Err(PinError::Name(_))),
            "{name}"
        );
    }
}
