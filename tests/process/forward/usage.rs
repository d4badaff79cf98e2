//! What a newcomer gets wrong, and what is said of it.

use super::*;

#[test]
fn a_newcomers_mistakes_are_told_with_what_to_do() {
    let folder = folder();
    for (line, says) in [
        (
            "forward github",
            "github has no target: write where your program listens",
        ),
        (
            "forward github stripe",
            "'stripe' is not a target such as 3000",
        ),
        ("forward github /webhooks", "is not a target such as 3000"),
        (
            "forward github localhost",
            "'localhost' is not a target such as 3000",
        ),
        ("forward github http://u:p@localhost", "is not a target"),
        ("forward git/hub 3000", "git/hub"),
        (
            "forward github 3000 --id e-1 --since 2h",
            "cannot be used with",
        ),
        (
            "forward github 3000 --no-follow",
            "add one of them, such as --since 2h",
        ),
        (
            "forward github 3000 --signature fresh",
            "--signature fresh needs a secret",
        ),
        ("forward github 3000 --secret env:NOWHERE", "NOWHERE"),
        (
            "forward github 3000 --secret s --preset gihtub",
            "did you mean",
        ),
        (
            "forward github 3000 --match name=x",
            "must be a JSON pointer",
        ),
        ("forward github 3000 --url nowhere", "must be a URL such as"),
        ("resend e-1", "required"),
        ("resend e-1 e-2", "the last one must be a target"),
        ("resend nothing 3000", "'nothing' is no id of an event"),
        ("resend ../../etc/passwd 3000", "is no id of an event"),
    ] {
        let mut command = command(folder.path(), &line.split(' ').collect::<Vec<_>>());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(says), "{line}: no {says:?} in {said}");
        assert!(!said.contains("u:p@"), "{said}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_waited_for_and_one_that_is_none_is_not() {
    let folder = folder();
    let nobody = format!("http://{}", hookrill_testing::free_address());
    let mut command = command(folder.path(), &["forward", "a", "3000", "--token", "t"]);
    command.args(["--url", &nobody]);
    let forward = Forward::of(folder.path(), &mut command);
    forward.wait_until_it_says("gateway away, again in");
    assert!(
        forward.said().contains("Connection refused"),
        "{}",
        forward.said()
    );
    let page = FakeGateway::start(|_| {
        Reply::Bytes(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi".into(),
        )
    });
    let (code, _, said) = run(folder.path(), &page, &["forward", "a", "3000"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("text/html"), "{said}");
}
