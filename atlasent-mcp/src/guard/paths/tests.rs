use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use serde_json::json;

use super::*;

struct Files {
    _folder: tempfile::TempDir,
    root: PathBuf,
    rules: PathRules,
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let outer = folder.path().canonicalize().unwrap();
    let root = outer.join("files");
    fs::create_dir_all(root.join("public")).unwrap();
    fs::create_dir(root.join("private")).unwrap();
    fs::write(root.join("private/key"), "").unwrap();
    fs::write(root.join("public/a.txt"), "").unwrap();
    fs::write(outer.join("outside"), "").unwrap();
    symlink(root.join("private"), root.join("public/link")).unwrap();
    symlink(outer.join("outside"), root.join("public/out")).unwrap();
    symlink(outer.join("nothing"), root.join("public/dangling")).unwrap();
    let rules = PathRules::new(&root, ["path", "paths"]).unwrap();
    Files {
        _folder: folder,
        root,
        rules,
    }
}

impl Files {
    fn passes(&self, path: &str) -> bool {
        let path = path.replace("ROOT", self.root.to_str().unwrap());
        let call = |arguments: Value| Operation::tool("t", &arguments.to_string()).unwrap();
        let one = self.rules.check(&call(json!({ "path": path }))).is_ok();
        let many = self.rules.check(&call(json!({ "paths": [path] }))).is_ok();
        assert_eq!(one, many);
        one
    }
}

#[test]
fn only_a_path_as_the_file_system_knows_it_passes() {
    let files = files();
    for path in [
        "ROOT",
        "ROOT/public/a.txt",
        "ROOT/public/new/er/b.txt",
        "ROOT/private/key",
    ] {
        assert!(files.passes(path), "{path}");
    }
    for path in [
        "",
        "public/a.txt",
        "/",
        "/etc/passwd",
        "ROOT/",
        "ROOT/../outside",
        "ROOTT/a",
        "ROOT/public/../private/key",
        "ROOT/public/./a.txt",
        "ROOT/public//a.txt",
        "ROOT/public/link/key",
        "ROOT/public/out",
        "ROOT/public/dangling",
        "ROOT/public/dangling/x",
        "ROOT/public/new/../../private/key",
        "ROOT/public/a.txt/x",
        "ROOT/public/\0",
    ] {
        assert!(!files.passes(path), "{path}");
    }
}

#[test]
fn a_new_name_that_a_server_may_take_for_an_existing_one_is_refused() {
    let files = files();
    let folder = files.root.join("gesch\u{e4}ft");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("key"), "").unwrap();
    symlink(
        files.root.join("private"),
        files.root.join("public/l\u{ef}nk"),
    )
    .unwrap();
    fs::write(files.root.join("public/\u{fb01}le"), "").unwrap();
    fs::write(files.root.join("public/stra\u{df}e"), "").unwrap();
    for path in [
        "ROOT/gesch\u{e4}ft",
        "ROOT/gesch\u{e4}ft/key",
        "ROOT/gesch\u{e4}ft/new",
        // Its folder is new, too.
        "ROOT/new/gescha\u{308}ft",
        "ROOT/public/gescha\u{308}ft",
        "ROOT/public/\u{fb01}le",
    ] {
        assert!(files.passes(path), "{path}");
    }
    for path in [
        "ROOT/gescha\u{308}ft",
        "ROOT/gescha\u{308}ft/key",
        "ROOT/gescha\u{308}ft/new/er",
        "ROOT/GESCH\u{c4}FT/key",
        "ROOT/GESCHA\u{308}FT/key",
        "ROOT/Private/key",
        "ROOT/public/li\u{308}nk/key",
        "ROOT/public/A.txt",
        "ROOT/public/\u{ff41}.txt",
        "ROOT/public/file",
        "ROOT/public/STRASSE",
        "ROOT/public/stra\u{1e9e}e",
    ] {
        assert!(!files.passes(path), "{path}");
    }
}

#[test]
fn a_folder_with_too_many_entries_takes_no_new_name() {
    let files = files();
    let new = NewName {
        folder: files.root.clone(),
        name: "new".into(),
    };
    // `private` and `public`.
    assert_eq!(new.look_alike(2).unwrap(), None);
    assert!(new.look_alike(1).is_err());
}

#[test]
fn names_outside_of_the_folder_are_not_revealed() {
    let files = files();
    let root = files.root.to_str().unwrap();
    let outer = files.root.parent().unwrap();
    fs::create_dir(outer.join("folder")).unwrap();
    symlink(outer.join("nothing"), outer.join("dangling")).unwrap();
    symlink(outer.join("folder"), files.root.join("public/folder")).unwrap();
    symlink(outer.join("loop"), outer.join("loop")).unwrap();
    let reason = |path: &str| {
        let path = path.replace("OUTER", outer.to_str().unwrap());
        let path = path.replace("ROOT", root);
        let call = Operation::tool("t", &json!({ "path": path }).to_string()).unwrap();
        files.rules.check(&call).unwrap_err().reason().to_owned()
    };
    let expected = format!("the path in `path` is not below `{root}`");
    for path in [
        "OUTER/Outside",
        "OUTER/outside",
        "OUTER/outside/",
        "OUTER/outside/x",
        "OUTER/nothing",
        "OUTER/nothing/x",
        "OUTER/nothing/../x",
        "OUTER/folder/x",
        "OUTER/folder/../x",
        "OUTER/folder/\0",
        "OUTER/nothing/\0",
        "OUTER/dangling",
        "OUTER/dangling/x",
        "OUTER/loop",
        "ROOT/../outside/x",
        "ROOT/../nothing/x",
        // Links in the folder that lead out of it.
        "ROOT/public/out",
        "ROOT/public/out/",
        "ROOT/public/out/.",
        "ROOT/public/out/x",
        "ROOT/public/folder/",
        "ROOT/public/folder/x",
        "ROOT/public/folder/../outside/x",
        "ROOT/public/dangling",
        "ROOT/public/dangling/",
        "ROOT/public/dangling/.",
        "ROOT/public/dangling/x",
        "ROOT/public/dangling/../x",
    ] {
        assert_eq!(reason(path), expected, "{path}");
    }
    // What is in the folder is explained.
    for path in ["ROOT/public/a.txt/x", "ROOT/public/new/../x", "ROOT/\0"] {
        assert!(reason(path).contains("cannot be resolved"), "{path}");
    }
}

#[test]
fn rules_that_confine_nothing_are_refused() {
    let files = files();
    let none: [&str; 0] = [];
    let error = PathRules::new(&files.root, none).unwrap_err();
    assert!(matches!(error, PathRulesError::NoArguments), "{error}");
    let missing = files.root.join("missing");
    let error = PathRules::new(&missing, ["path"]).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");

    let tool = |argument: &str| {
        let schema = json!({"type": "object", "properties": {argument: {"type": "string"}}});
        Tool::new(argument, schema).unwrap()
    };
    let all = [tool("path"), tool("paths"), tool("other")];
    assert_eq!(files.rules.unknown_argument(&all), None);
    assert_eq!(files.rules.unknown_argument(&all[..1]), Some("paths"));
}

#[test]
fn an_argument_that_is_no_path_is_refused() {
    let files = files();
    for value in [
        json!(7),
        json!({"path": "x"}),
        json!([7]),
        json!([["ROOT"]]),
    ] {
        let call = Operation::tool("t", &json!({ "path": value }).to_string()).unwrap();
        assert!(files.rules.check(&call).is_err());
    }
}

proptest! {
    #[test]
    fn names_that_differ_in_unicode_form_only_share_a_form(name in "\\PC{1,12}") {
        let shared = caseless_form(OsStr::new(&name));
        for other in [
            name.nfc().collect::<String>(),
            name.nfd().collect(),
            name.nfkc().collect(),
            name.nfkd().collect(),
        ] {
            prop_assert_eq!(&caseless_form(OsStr::new(&other)), &shared);
        }
    }

    #[test]
    fn no_spelling_gets_outside(parts in prop::collection::vec("(\\.\\.|\\.|public|private|link|out|key|a)?", 0..6)) {
        let files = files();
        let path = format!("{}/{}", files.root.display(), parts.join("/"));
        if files.passes(&path) {
            let known = fs::canonicalize(&path);
            prop_assert!(known.is_err() || known.unwrap() == Path::new(&path));
        }
    }
}
