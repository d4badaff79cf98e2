//! nginx's cache in front: many readers of the same history ask the gateway for each page
//! once, and never for one that is not for all.

use std::{fs, net::SocketAddr, path::Path, process::Command, thread, time::Instant};

use hookrill_testing::{
    Connection, OPEN_TOPIC, POLL_INTERVAL, Process, Response, WAIT_MAX, free_address,
};
use tempfile::TempDir;

use crate::program::{Group, give_to_nobody, unprivileged};

const READERS: usize = 20;
const EVENTS: usize = 60;

/// A cache, as its manual has it: it goes by what the gateway says.
fn nginx(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Group {
    let config = format!(
        "worker_processes 1; daemon off; pid nginx.pid; error_log error.log;\n\
         events {{}}\n\
         http {{\n\
           access_log off;\n\
           client_body_temp_path body; proxy_temp_path temp; fastcgi_temp_path fastcgi;\n\
           uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
           proxy_cache_path cache keys_zone=pages:1m;\n\
           server {{\n\
             listen {address};\n\
             location / {{\n\
               proxy_pass http://{upstream};\n\
               proxy_cache pages; proxy_cache_lock on; proxy_cache_revalidate on;\n\
               add_header X-Cache $upstream_cache_status;\n\
             }}\n\
           }}\n\
         }}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    give_to_nobody(folder);
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .arg("-e")
        .arg("error.log");
    unprivileged(&mut command, folder);
    Group::start(&mut command)
}

fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).unwrap().get(path).unwrap()
}

/// All pages from the beginning; returns how many events they have.
fn read_all(address: SocketAddr) -> usize {
    let (mut offset, mut count) = ("-1".to_owned(), 0);
    loop {
        let path = format!("/streams/open?limit=10&offset={offset}");
        let page = get(address, &path);
        assert_eq!(page.status, 200, "{page:?}");
        count += page.json().as_array().unwrap().len();
        page.header("stream-next-offset")
            .unwrap()
            .clone_into(&mut offset);
        if page.header("stream-up-to-date").is_some() {
            return count;
        }
    }
}

/// How many requests for pages the gateway has answered.
fn answered(gateway: &Process) -> usize {
    let page = gateway.connection().get("/metrics").unwrap();
    let series = page.text().lines().filter_map(|line| {
        line.strip_prefix("hookrill_http_responses_total{route=\"/streams\"")?;
        line.rsplit(' ').next()?.parse::<usize>().ok()
    });
    series.sum()
}

#[test]
fn a_cache_in_front_asks_for_each_page_once_and_keeps_none_that_needs_a_token() {
    let gateway = Process::with_sections(&format!(
        "metrics_public = true\n[access]\nsecret = \"0123456789abcdef0123456789abcdef\"\n{OPEN_TOPIC}\n\
         [topics.shut]\nscheme = {{ kind = \"none\" }}\n"
    ));
    let mut connection = gateway.connection();
    for n in 0..EVENTS {
        connection
            .post("/ingest/open", &[], &n.to_string())
            .unwrap();
        connection
            .post("/ingest/shut", &[], &n.to_string())
            .unwrap();
    }
    let (folder, address) = (TempDir::new().unwrap(), free_address());
    let _nginx = nginx(folder.path(), address, gateway.address);
    let deadline = Instant::now() + WAIT_MAX;
    while Connection::open(address).is_err() {
        assert!(Instant::now() < deadline, "nginx answers");
        #[expect(
            clippy::disallowed_methods,
            reason = "it says to nobody that it listens"
        )]
        thread::sleep(POLL_INTERVAL);
    }
    let before = answered(&gateway);
    let reading: Vec<_> = (0..READERS)
        .map(|_| thread::spawn(move || read_all(address)))
        .collect();
    for reader in reading {
        assert_eq!(reader.join().unwrap(), EVENTS);
    }
    let pages = EVENTS / 10;
    let asked = answered(&gateway) - before;
    assert_eq!(asked, pages, "{READERS} readers of {pages} pages");
    let token = gateway.token("shut");
    for _ in 0..2 {
        let page = get(address, &format!("/streams/shut?token={token}"));
        assert_eq!(page.header("x-cache"), Some("MISS"));
    }
}
