//! Who may know whom (docs/architecture.md).

use system_tests::repository::{Source, files};

/// A part of the code and what it may name.
struct Layer {
    /// The folder or file it lies in.
    path: &'static str,
    /// Crates that it may name.
    crates: &'static [&'static str],
    /// Modules of its own crate that it may name.
    modules: &'static [&'static str],
}

/// The pure machines: no socket, no clock, no thread; those are also banned by word.
const LAYERS: [Layer; 3] = [
    // The log is the one thing that a machine may say past its caller: it answers nothing.
    Layer {
        path: "gateway/src/sn",
        crates: &["std", "core", "alloc", "bytes", "sn_codec", "broker_core", "tracing"],
        modules: &["sn"],
    },
    Layer {
        path: "broker-core/src/mqtt",
        crates: &["std", "core", "alloc", "bytes"],
        modules: &["mqtt", "api", "auth", "property", "reason", "time", "topic"],
    },
    Layer { path: "sn-codec/src", crates: &["core"], modules: &["*"] },
];

/// Words that no pure machine contains, whoever it got them from.
const BANNED: [&str; 12] = [
    "mio::",
    "socket2::",
    "libc::",
    "crossbeam",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::env",
];

#[test]
fn pure_machines_know_nothing_of_the_world() {
    super::assert_none(&violations(&files(&[".rs"])));
}

fn violations(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for layer in &LAYERS {
        for source in sources.iter().filter(|source| belongs(source, layer.path)) {
            let code = source.lines().take_while(|(number, _)| *number < source.tests_from());
            let code: Vec<_> =
                code.filter(|(_, line)| !line.trim_start().starts_with("//")).collect();
            let submodules: Vec<_> = code.iter().filter_map(|(_, line)| submodule(line)).collect();
            for (number, line) in code {
                let wrong = strangers(line, layer, &submodules);
                complaints.extend(wrong.map(|what| format!("{}:{number}: {what}", source.path)));
            }
        }
    }
    complaints
}

/// `gateway/src/sn` means the folder and the file `sn.rs` beside it.
fn belongs(source: &Source, path: &str) -> bool {
    source.is_in(&[&format!("{path}/")]) || source.path == format!("{path}.rs")
}

/// The module that a line declares.
fn submodule(line: &str) -> Option<&str> {
    line.split_once("mod ")?.1.strip_suffix(';')
}

fn strangers<'a>(
    line: &'a str,
    layer: &'a Layer,
    submodules: &'a [&str],
) -> impl Iterator<Item = String> + 'a {
    let crates = used_crate(line).into_iter();
    let crates = crates.filter(|name| !layer.crates.contains(name) && !submodules.contains(name));
    let any = layer.modules == ["*"];
    let modules =
        own_modules(line).into_iter().filter(move |name| !any && !layer.modules.contains(name));
    let banned = BANNED.iter().filter(|word| line.contains(*word));
    crates
        .map(|name| format!("the crate `{name}`"))
        .chain(modules.map(|name| format!("the module `{name}`")))
        .chain(banned.map(|word| format!("the word `{word}`")))
}

/// The crate that a `use` line names, if it is another one.
fn used_crate(line: &str) -> Option<&str> {
    let path = line.trim_start().trim_start_matches("pub ").strip_prefix("use ")?;
    let first = path.trim_start_matches("::").split([':', ';', ' ', '{']).next()?;
    let own = ["crate", "super", "self", ""].contains(&first);
    let is_type = first.starts_with(char::is_uppercase);
    (!own && !is_type).then_some(first)
}

/// The modules that a line names behind `crate::`, also in braces.
fn own_modules(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let parts = group.split(['}', ';']).next().unwrap_or_default().split(',');
                found.extend(parts.map(|part| first_name(part.trim())));
            }
            None => found.push(first_name(rest)),
        }
    }
    // Types that the root of the crate re-exports are no modules.
    found.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    found
}

fn first_name(path: &str) -> &str {
    path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn a_machine_that_looks_out_is_noticed() {
    let sn = "\
use std::collections::BTreeMap;
use broker_core::api::{Incoming, Outgoing};
use crate::sn::peer::Peer;
use mio::Token;
use crate::config::Config;
use crate::{sn::arq, server::Server};
let now = std::time::Instant::now();
// Instant::now would be wrong here
#[cfg(test)]
use crate::config::Config;
";
    let codec = "use crate::frame::Frame;\nuse crate::broker::Broker;\nuse Kind::Length;\n";
    let sources = [
        Source::invented("gateway/src/sn/peer.rs", sn),
        Source::invented("gateway/src/sn.rs", "use std::fs;\n"),
        Source::invented("gateway/src/snail.rs", sn),
        Source::invented("broker-core/src/mqtt/decode.rs", codec),
        Source::invented("sn-codec/src/lib.rs", "use std::fmt;\npub mod v12;\nuse v12::Packet;\n"),
    ];
    let places = [
        "gateway/src/sn/peer.rs:4",
        "gateway/src/sn/peer.rs:4",
        "gateway/src/sn/peer.rs:5",
        "gateway/src/sn/peer.rs:6",
        "gateway/src/sn/peer.rs:7",
        "gateway/src/sn.rs:1",
        "broker-core/src/mqtt/decode.rs:1",
        "broker-core/src/mqtt/decode.rs:2",
        "sn-codec/src/lib.rs:1",
    ];
    super::assert_places(&violations(&sources), &places);
}
