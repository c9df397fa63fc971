//! The size limits of a policy set.

use std::fs;

use super::{PERMIT, places};
use crate::policy::Policies;
use crate::policy::limits::{MAX_ENTITIES, MAX_POLICIES, MAX_SOURCES, MAX_TEXT, MAX_TEXTS};

fn blank(bytes: usize) -> String {
    PERMIT.to_owned() + &" ".repeat(bytes - PERMIT.len())
}

#[test]
fn a_set_without_a_policy_is_refused() {
    for text in ["", " \n", "// permit (principal, action, resource);"] {
        let error = Policies::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("<policies>: it has no policy"), "{error}");
    }
    let error = Policies::builder()
        .source("a.cedar", "")
        .source("b.cedar", "// none")
        .build()
        .unwrap_err();
    assert_eq!(places(&error), ["<policies>"]);
    assert!(Policies::builder().build().is_err());
    let one = Policies::builder()
        .source("a.cedar", "")
        .source("b.cedar", PERMIT);
    assert_eq!(one.build().unwrap().len(), 1);
}

#[test]
fn a_text_has_at_most_a_mebibyte() {
    let build = |text: String| Policies::builder().source("a.cedar", text).build();
    assert!(build(blank(MAX_TEXT)).is_ok());
    let error = build(blank(MAX_TEXT + 1)).unwrap_err().to_string();
    assert_eq!(
        error,
        "a.cedar: it has more than the 1048576 bytes that such a text may have: split it"
    );
    let schema = Policies::builder()
        .source("a.cedar", PERMIT)
        .schema("s.cedarschema", " ".repeat(MAX_TEXT + 1));
    assert_eq!(places(&schema.build().unwrap_err()), ["s.cedarschema"]);
    let entities = Policies::builder()
        .source("a.cedar", PERMIT)
        .entities("e.json", " ".repeat(MAX_ENTITIES + 1));
    assert_eq!(places(&entities.build().unwrap_err()), ["e.json"]);
}

#[test]
fn a_file_is_read_up_to_its_limit_and_has_to_be_a_regular_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.cedar"), blank(MAX_TEXT + 1)).unwrap();
    fs::create_dir(path("b.cedar")).unwrap();
    let error = Policies::from_dir(folder.path()).unwrap_err().to_string();
    for (name, words) in [
        ("a.cedar", "more than the 1048576 bytes"),
        ("b.cedar", "it is no regular file"),
    ] {
        let line = error.lines().find(|line| line.contains(name));
        assert!(line.is_some_and(|line| line.contains(words)), "{error}");
    }
    fs::remove_dir(path("b.cedar")).unwrap();
    fs::write(path("a.cedar"), blank(MAX_TEXT)).unwrap();
    assert_eq!(Policies::from_dir(folder.path()).unwrap().len(), 1);
    for n in 0..MAX_TEXTS / MAX_TEXT {
        fs::write(path(&format!("{n}.cedar")), blank(MAX_TEXT)).unwrap();
    }
    let error = Policies::from_dir(folder.path()).unwrap_err().to_string();
    assert!(error.contains("bytes together"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("a.cedar");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let error = Policies::from_dir(folder.path()).unwrap_err().to_string();
    assert!(error.contains("this is a pipe"), "{error}");
}

#[test]
fn a_set_has_so_many_texts_bytes_and_policies() {
    let texts = |count: usize, text: &str| {
        let builder = (0..count).fold(Policies::builder(), |builder, n| {
            builder.source(&format!("{n}.cedar"), text)
        });
        builder.build().map(|policies| policies.len())
    };
    let error = texts(MAX_SOURCES + 1, PERMIT).unwrap_err().to_string();
    assert!(
        error.starts_with("<policies>: 1001 policy texts"),
        "{error}"
    );
    let error = texts(MAX_TEXTS / MAX_TEXT + 1, &blank(MAX_TEXT)).unwrap_err();
    assert!(error.to_string().contains("bytes together"), "{error}");

    let many = PERMIT.repeat(MAX_POLICIES / 2 + 1);
    let error = texts(2, &many).unwrap_err().to_string();
    assert!(error.starts_with("<policies>: 10002 policies"), "{error}");
}
