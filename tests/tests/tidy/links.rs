//! Links in documents lead somewhere.

use std::collections::BTreeMap;

use system_tests::repository::{self, Source, files};

#[test]
fn relative_links_resolve() {
    let documents = files(&[".md"]);
    super::assert_none(&broken(&documents, |path| repository::path(path).exists()));
}

fn broken(documents: &[Source], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let by_path: BTreeMap<_, _> = documents.iter().map(|source| (&*source.path, source)).collect();
    let mut complaints = Vec::new();
    for document in documents {
        for (number, line) in prose(document) {
            for target in targets(line) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = resolve(&document.path, file);
                let found = match by_path.get(&*path) {
                    Some(other) => anchor.is_empty() || anchors(other).any(|a| a == anchor),
                    None => exists(&path),
                };
                if !found {
                    complaints.push(format!("{}:{number}: no {target}", document.path));
                }
            }
        }
    }
    complaints
}

/// The lines outside of code blocks.
fn prose(document: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    document.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// What `[…](target)` points to within this repository.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let found = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    found.filter(|target| !target.contains(':'))
}

/// The path of a link from the root of the repository.
fn resolve(from: &str, link: &str) -> String {
    if link.is_empty() {
        return from.to_owned();
    }
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchors that headings make: lower case, spaces to hyphens, punctuation gone.
fn anchors(document: &Source) -> impl Iterator<Item = String> {
    prose(document).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn a_link_into_nothing_is_noticed() {
    let readme = "\
[good](docs/a.md) and [also](docs/a.md#how-it-works-2) and [out](https://example.org)
[here](#top) [file](tests/run)
# Top
[bad](docs/b.md)
[no such heading](docs/a.md#missing) [nor here](#none)
```
[in code](docs/c.md)
```
";
    let documents = [
        Source::invented("README.md", readme),
        Source::invented("docs/a.md", "## How it works, 2\n[up](../README.md) [down](../x.md)\n"),
    ];
    let places = ["README.md:4", "README.md:5", "README.md:5", "docs/a.md:2"];
    super::assert_places(&broken(&documents, |path| path == "tests/run"), &places);
}
