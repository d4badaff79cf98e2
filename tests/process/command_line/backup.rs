//! `hookrill backup` and `hookrill restore`.

use super::*;

#[test]
fn a_backup_never_guesses_which_journal_is_meant() {
    let folder = folder();
    let folder = folder.path();
    // A journal lies where a gateway without a configuration would have it.
    let gateway = Gateway::on_disk(folder);
    gateway.end();
    for (toml, says) in [
        ("[journal]\npath = \"/other\"\n[topics.a\n", "give --from"),
        (
            "[journal]\npath = \"/other\"\nnonsense = 1\n",
            "give --from",
        ),
        (
            "[journal]\nkind = \"memory\"\n[topics.a]\npreset = \"github\"\n\
             access = \"public\"\nsecrets = [\"a secret of some length\"]\n",
            "the configured journal is in memory and has no folder; give --from",
        ),
    ] {
        std::fs::write(folder.join("broken.toml"), toml).unwrap();
        run(folder, &["backup", "kept", "--config", "broken.toml"])
            .has_status(1)
            .says(says);
        assert!(!folder.join("kept").exists());
    }
    run(
        folder,
        &[
            "backup",
            "kept",
            "--config",
            "broken.toml",
            "--from",
            "data",
        ],
    )
    .has_status(0);
    std::fs::write(folder.join("broken.toml"), "[").unwrap();
    run(folder, &["restore", "kept", "--config", "broken.toml"])
        .has_status(1)
        .says("give --to");
}

#[test]
fn a_backup_of_a_running_gateway_comes_back_under_another_epoch() {
    let folder = folder();
    let folder = folder.path();
    let gateway = Gateway::on_disk(folder);
    let send = |to: &Gateway, body| {
        let sent = run(folder, &["send", "hello", body, "--url", &to.url]).has_status(0);
        let answer: serde_json::Value = serde_json::from_str(&sent.stdout).unwrap();
        let id = answer["id"].as_str().unwrap().to_owned();
        let (epoch, sequence) = id.split_once('-').unwrap();
        (epoch.to_owned(), sequence.parse::<u64>().unwrap())
    };
    let (epoch, _) = send(&gateway, "1");
    send(&gateway, "2");
    run(folder, &["backup", "kept"])
        .has_status(0)
        .says_nothing()
        .prints("from          data")
        .prints(&format!("{epoch}-2"));
    run(folder, &["backup", "kept"])
        .has_status(1)
        .says("is not empty");
    send(&gateway, "lost");
    run(folder, &["restore", "kept"])
        .has_status(1)
        .says("data is not empty");
    gateway.end();

    std::fs::rename(folder.join("data"), folder.join("broken")).unwrap();
    run(folder, &["journal", "check", "kept"]).has_status(0);
    run(folder, &["restore", "kept"])
        .has_status(0)
        .says_nothing();
    // The secrets of zero configuration came along, or `send` could not sign.
    let restored = Gateway::on_disk(folder);
    let (new_epoch, sequence) = send(&restored, "3");
    assert_ne!(new_epoch, epoch);
    assert!(sequence > 2, "{sequence}");
    restored.end();
}

#[test]
fn a_file_where_a_folder_should_be_is_called_a_file() {
    let folder = folder();
    let folder = folder.path();
    Gateway::on_disk(folder).end();
    run(folder, &["backup", "kept"]).has_status(0);
    std::fs::write(folder.join("file"), "x").unwrap();
    for (arguments, says) in [
        (
            &["backup", "file"][..],
            "file is a file; name a folder that does not exist, or an empty one",
        ),
        (
            &["backup", "other", "--from", "file"],
            "file is a file; name the journal's folder",
        ),
        (
            &["restore", "kept", "--to", "file"],
            "file is a file; name a folder that does not exist, or an empty one",
        ),
        (
            &["restore", "file", "--to", "other"],
            "file is a file; name the folder that `hookrill backup` has made",
        ),
    ] {
        run(folder, arguments).has_status(1).says(says);
    }
    assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"x");
}
