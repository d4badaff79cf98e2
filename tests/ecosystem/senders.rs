//! Senders as others write them.

use std::{fs, process::Command};

use hookrill_testing::Process;

use crate::recipes::built_by_go;

/// Go's own client, as it is by default: it writes all before it looks at the answer.
const GO: &str = r#"
package main

import (
    "bytes"
    "fmt"
    "net/http"
    "os"
)

func main() {
    body := bytes.NewReader(make([]byte, 24<<20))
    answer, err := http.Post(os.Args[1], "application/octet-stream", body)
    if err != nil {
        fmt.Println(err)
        os.Exit(1)
    }
    fmt.Println(answer.StatusCode)
}
"#;

#[test]
fn gos_client_sees_that_its_body_is_too_long() {
    let gateway = Process::with_sections(
        "[topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("sender.go");
    fs::write(&source, GO).unwrap();
    let program = built_by_go(&source);
    for _ in 0..5 {
        let url = format!("{}/ingest/open", gateway.url());
        let output = Command::new(&program).arg(url).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim(), "413");
    }
}
