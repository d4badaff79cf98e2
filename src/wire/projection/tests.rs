//! What is shown and what is not, by table and against a simple model.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn pointers(list: &[&str]) -> Vec<Pointer> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn exposing(expose: &[&str]) -> Projection {
    Projection::new(Some(pointers(expose)), Vec::new())
}

fn hiding(hide: &[&str]) -> Projection {
    Projection::new(None, pointers(hide))
}

fn cut(projection: &Projection, body: &str) -> String {
    projection.cut(body.as_bytes()).unwrap()
}

#[test]
fn only_what_is_exposed_is_shown_in_its_order_and_spelling() {
    let body = r#" { "z" : 1.00 , "a":{"n": 1e400, "s":"\u00e9\/", "o":{ "k" : [ ] }},
        "l":[{"id":7,"x":1},{"id":8},9], "t":true } "#;
    for (expose, shown) in [
        (&["/z"][..], r#"{"z":1.00}"#),
        (&["/a/n", "/z"], r#"{"z":1.00,"a":{"n":1e400}}"#),
        (
            &["/a"],
            r#"{"a":{"n": 1e400, "s":"\u00e9\/", "o":{ "k" : [ ] }}}"#,
        ),
        (&["/a/o/k"], r#"{"a":{"o":{"k":[ ]}}}"#),
        (&["/a/none"], r#"{"a":{}}"#),
        (&["/z/deeper", "/t"], r#"{"t":true}"#),
        (&["/l/1/id"], r#"{"l":[null,{"id":8},null]}"#),
        (&["/l/*/id"], r#"{"l":[{"id":7},{"id":8},null]}"#),
        (&["/l/01", "/l/-"], r#"{"l":[null,null,null]}"#),
        (&["/*/n"], r#"{"a":{"n":1e400},"l":[null,null,null]}"#),
        (&[], "{}"),
    ] {
        assert_eq!(cut(&exposing(expose), body), shown, "{expose:?}");
    }
}

#[test]
fn what_is_hidden_goes_and_all_else_stays() {
    let body = r#"{"a":{"b":1,"c":2.50},"l":[{"s":1,"k":2},{"s":3}],"b":"x"}"#;
    for (hide, shown) in [
        (
            &["/a/b"][..],
            r#"{"a":{"c":2.50},"l":[{"s":1,"k":2},{"s":3}],"b":"x"}"#,
        ),
        (
            &["/l/*/s"],
            r#"{"a":{"b":1,"c":2.50},"l":[{"k":2},{}],"b":"x"}"#,
        ),
        (&["/l/0", "/a"], r#"{"l":[null,{"s":3}],"b":"x"}"#),
        (&["/*"], "{}"),
        (&["/b/deeper", "/none"], body),
    ] {
        assert_eq!(cut(&hiding(hide), body), shown, "{hide:?}");
    }
}

#[test]
fn what_is_hidden_stays_hidden_within_what_is_exposed() {
    let both = Projection::new(Some(pointers(&["/a"])), pointers(&["/a/s", "/a"]));
    assert_eq!(cut(&both, r#"{"a":{"s":1},"b":2}"#), "{}");
    let within = Projection::new(Some(pointers(&["/a", "/b/c"])), pointers(&["/a/s", "/*/c"]));
    let shown = cut(&within, r#"{"a":{"s":1,"k":2,"c":3},"b":{"c":4}}"#);
    assert_eq!(shown, r#"{"a":{"k":2},"b":{}}"#);
}

#[test]
fn a_key_is_what_it_reads_as_and_each_of_two_is_cut() {
    let hidden = hiding(&["/secret"]);
    for body in [
        r#"{"secret":1,"a":2,"secret":{"x":3}}"#,
        r#"{"\u0073ecret":1,"a":2}"#,
        r#"{"a":2,"s\u0065cre\u0074":[]}"#,
    ] {
        assert_eq!(cut(&hidden, body), r#"{"a":2}"#, "{body}");
    }
    let shown = cut(
        &exposing(&["/a/b"]),
        r#"{"a":{"s":1},"a":"s","a":{"b":2,"b":3}}"#,
    );
    assert_eq!(shown, r#"{"a":{},"a":{"b":2,"b":3}}"#);
    assert_eq!(
        cut(&exposing(&["/a~1b"]), r#"{"a/b":1,"a":{"b":2}}"#),
        r#"{"a/b":1}"#
    );
}

#[test]
fn a_body_that_is_no_object_shows_nothing_that_no_pointer_leads_to() {
    for body in ["5", "\"secret\"", "null", " true "] {
        assert_eq!(cut(&exposing(&["/a"]), body), "null", "{body}");
        assert_eq!(cut(&hiding(&["/a"]), body), body.trim(), "{body}");
    }
    assert_eq!(
        cut(&exposing(&["/a"]), r#"["secret",{"a":1}]"#),
        "[null,null]"
    );
}

#[test]
fn what_is_not_json_to_its_end_is_refused() {
    let long = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(999_999));
    for body in [
        &b""[..],
        b"a=1",
        b"{",
        b"{\"a\":1} {\"a\":2}",
        b"{\"a\":1},",
        b"{\"a\" 1}",
        b"{\"a\":tru}",
        b"{\"hidden\":tru}",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"{\"\\ud800\":1}",
        b"[1,]",
        long.as_bytes(),
    ] {
        for projection in [exposing(&["/a"]), hiding(&["/a"]), exposing(&[])] {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            assert_eq!(projection.cut(body), Err(NotJson), "{shown}");
        }
    }
    let marked = exposing(&["/a"]).cut(b"\xef\xbb\xbf{\"a\":1,\"b\":2}");
    assert_eq!(marked.as_deref(), Ok("{\"a\":1}"));
    // As deep as it may be, and no stack that grows with it.
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert!(exposing(&["/0/0"]).cut(deep.as_bytes()).is_ok());
}

#[test]
fn a_pointer_is_shown_where_all_that_may_stand_there_is() {
    let projection = Projection::new(
        Some(pointers(&["/a", "/l/*/id", "/b/c"])),
        pointers(&["/a/s", "/*/x"]),
    );
    for (pointer, shown) in [
        ("/a/k", true),
        ("/a/k/deep", true),
        ("/l/3/id", true),
        ("/b/c", true),
        // Part of it is hidden.
        ("/a", false),
        ("/a/s", false),
        ("/a/s/deep", false),
        ("/a/x", false),
        ("/b", false),
        ("/none", false),
    ] {
        assert_eq!(
            projection.shows(&pointer.parse().unwrap()),
            shown,
            "{pointer}"
        );
    }
}

/// A JSON value whose texts say by themselves where they stand.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\\u{e9}\n]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn rules() -> impl Strategy<Value = Vec<Pointer>> {
    prop::collection::vec("(/([abc0-2]|\\*)){1,3}", 0..4)
        .prop_map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// Whether a pointer leads to this path, or to what it stands in.
fn leads(pointers: &[Pointer], path: &[String]) -> bool {
    pointers.iter().any(|pointer| {
        let steps = pointer.steps();
        let pairs = steps.iter().zip(path);
        steps.len() <= path.len() && pairs.clone().all(|(step, key)| step == "*" || step == key)
    })
}

/// Where the scalars of a document stand, and what they are.
fn scalars(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, member)| (key.clone(), member))
            .collect(),
        Value::Array(list) => {
            let each = list.iter().enumerate();
            each.map(|(index, member)| (index.to_string(), member))
                .collect()
        }
        scalar => return found.push((path.clone(), scalar.clone())),
    };
    for (key, member) in members {
        path.push(key);
        scalars(member, path, found);
        path.pop();
    }
}

fn all_scalars(value: &Value) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    scalars(value, &mut Vec::new(), &mut found);
    found
}

proptest! {
    #[test]
    fn exactly_what_may_be_seen_is_seen(
        document in document(),
        expose in prop::option::of(rules()),
        hide in rules(),
        pretty: bool,
    ) {
        let body = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        let projection = Projection::new(expose.clone(), hide.clone());
        let shown: Value = serde_json::from_str(&cut(&projection, &body)).unwrap();
        let may_be_seen = |path: &[String]| {
            expose.as_ref().is_none_or(|expose| leads(expose, path)) && !leads(&hide, path)
        };
        let seen = all_scalars(&shown);
        for (path, value) in &seen {
            // `null` stands for hidden elements as well, and says nothing.
            let as_it_was = document.pointer(&pointer_of(path)) == Some(value);
            prop_assert!(value.is_null() || (as_it_was && may_be_seen(path)), "{path:?}");
        }
        for (path, value) in all_scalars(&document) {
            let is_seen = seen.iter().any(|one| *one == (path.clone(), value.clone()));
            prop_assert!(value.is_null() || is_seen == may_be_seen(&path), "{path:?}");
            let pointer = Some(pointer_of(&path)).filter(|text| !text.is_empty());
            let shows = pointer.is_some_and(|text| projection.shows(&text.parse().unwrap()));
            prop_assert!(!shows || value.is_null() || is_seen, "{path:?}");
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(body: Vec<u8>) {
        _ = exposing(&["/a/0", "/*"]).cut(&body);
    }
}

fn pointer_of(path: &[String]) -> String {
    path.iter().map(|step| format!("/{step}")).collect()
}
