use std::collections::{BTreeMap, BTreeSet};

use crate::{Repository, SourceFile};

/// Relative links of documents that lead nowhere.
#[must_use]
pub fn check_links(repository: &Repository) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        repository.ending(".md").map(|file| (file.path.as_str(), headings(&file.text))).collect();
    let mut found = Vec::new();
    for SourceFile { path, text } in repository.ending(".md") {
        for link in links(text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { path.clone() } else { resolve(path, target) };
            let is_folder = repository.files.iter().any(|file| file.path.starts_with(&format!("{target}/")));
            // A licence has no end to its name, so it is not among the texts.
            let is_file = repository.files.iter().any(|file| file.path == target) || target == "LICENSE";
            if !is_folder && !is_file {
                found.push(format!("{path}: the link {link:?} leads to no file"));
            } else if !anchor.is_empty() && !anchors.get(target.as_str()).is_some_and(|known| known.contains(anchor)) {
                found.push(format!("{path}: the link {link:?} leads to no heading"));
            }
        }
    }
    found
}

/// The targets of `[text](target)` outside of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines()
        .filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            in_code ^= fence;
            !fence && !in_code
        })
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a document's headings.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles.map(anchor).collect()
}

/// As the common hosts make them: lowercase, punctuation left out, spaces as `-`.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_file_and_its_heading() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let guide = file("docs/guide.md", "# 2. What it's: all\n[up](../README.md) [here](#2-what-its-all)\n");
        let check = |text: &str| {
            let files = vec![file("README.md", text), guide.clone()];
            check_links(&Repository { files, ..Repository::default() })
        };
        assert!(
            check("[a](docs/guide.md#2-what-its-all) [b](docs) [c](https://example.net)\n```\n[x](y)\n```").is_empty()
        );
        assert_eq!(check("[a](docs/guide.md#elsewhere) [b](docs/none.md)").len(), 2);
    }
}
