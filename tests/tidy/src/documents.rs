use std::collections::BTreeSet;

use crate::Repository;

const FLAGS_PAGE: &str = "docs/configuration.md";
const COMMANDS_PAGE: &str = "docs/kvctl.md";

/// Flags of `kv-node` that the page lacks, and flags of the page that there are not.
#[must_use]
pub fn check_flags(repository: &Repository) -> Vec<String> {
    let sources = repository.files.iter().filter(|file| file.path.starts_with("node/src/config"));
    let variables = sources.flat_map(|file| between(&file.text, "env = \"KV_NODE_", "\""));
    let flags: BTreeSet<String> = variables.map(|name| name.to_lowercase().replace('_', "-")).collect();
    let page = repository.text(FLAGS_PAGE);
    let described: BTreeSet<String> = page.lines().flat_map(|line| between(line, "| `--", "` |").take(1)).collect();
    if flags.is_empty() {
        return vec!["no flag was found in node/src/config: has its form changed?".into()];
    }
    let missing = flags.difference(&described).map(|flag| format!("{FLAGS_PAGE}: --{flag} has no row"));
    let stale = described.difference(&flags).map(|flag| format!("{FLAGS_PAGE}: kv-node has no flag --{flag}"));
    missing.chain(stale).collect()
}

/// Commands of `kvctl` that the page lacks.
#[must_use]
pub fn check_commands(repository: &Repository) -> Vec<String> {
    let source = repository.text("client/src/bin/kvctl/arguments.rs");
    let commands = variants(source, "pub enum Command {");
    if commands.is_empty() {
        return vec!["no command was found in kvctl: has its form changed?".into()];
    }
    let page = repository.text(COMMANDS_PAGE);
    let described = |command: &String| {
        let name = kebab(command);
        page.contains(&format!("`{name}`")) || page.contains(&format!("`{name} "))
    };
    let missing = commands.iter().filter(|command| !described(command));
    missing.map(|command| format!("{COMMANDS_PAGE}: `{}` is not described", kebab(command))).collect()
}

/// Rules of the core and reasons of errors that their pages lack.
#[must_use]
pub fn check_names(repository: &Repository) -> Vec<String> {
    let rules = variants(repository.text("node/replication/src/core/rules.rs"), "pub enum Rule {");
    let common = repository.text("proto/kv/v1/common.proto");
    let reasons: Vec<String> = common
        .split_once("enum ErrorReason {")
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(body, _)| body.lines().filter_map(|line| line.trim().split_once(" = ")).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("//") && !name.ends_with("UNSPECIFIED"))
        .collect();
    let mut found = Vec::new();
    for (names, page) in [(rules, "docs/protocol.md"), (reasons, "docs/client-api.md")] {
        if names.is_empty() {
            found.push(format!("no names were found for {page}: has the source's form changed?"));
        }
        let text = repository.text(page);
        let missing = names.iter().filter(|name| !text.contains(&format!("`{name}`")));
        found.extend(missing.map(|name| format!("{page}: `{name}` is missing")));
    }
    found
}

/// Source files that documents name and that there are not.
#[must_use]
pub fn check_files(repository: &Repository) -> Vec<String> {
    let mut found = Vec::new();
    for document in repository.ending(".md") {
        for name in document.text.split('`').skip(1).step_by(2).filter(|name| is_source(name)) {
            let end = format!("/{name}");
            // A page that has named the folder goes on with the file's name alone.
            if !repository.files.iter().any(|file| file.path == name || file.path.ends_with(&end)) {
                found.push(format!("{}: there is no file {name}", document.path));
            }
        }
    }
    found
}

fn is_source(name: &str) -> bool {
    let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    is_path && [".rs", ".proto", ".toml", ".sh"].iter().any(|end| name.ends_with(end))
}

/// Targets of `make` that documents name and the Makefile lacks.
#[must_use]
pub fn check_targets(repository: &Repository) -> Vec<String> {
    let makefile = repository.text("Makefile");
    let exists = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    let mut found = Vec::new();
    for file in repository.ending(".md") {
        let mut in_code = false;
        for (at, line) in file.text.lines().enumerate() {
            in_code ^= line.starts_with("```");
            let quoted = between(line, "`make ", "`");
            let typed = line.strip_prefix("make ").filter(|_| in_code).map(str::to_owned);
            for command in quoted.chain(typed) {
                let target = command.split_whitespace().next().unwrap_or_default();
                if !exists(target) {
                    found.push(format!("{}:{}: there is no `make {target}`", file.path, at + 1));
                }
            }
        }
    }
    found
}

/// What stands between two marks, each time.
fn between(text: &str, start: &str, end: &str) -> impl Iterator<Item = String> {
    text.split(start).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(inner, _)| inner.to_owned())
}

/// The variants of an enum, by the indentation that rustfmt gives them.
fn variants(source: &str, head: &str) -> Vec<String> {
    let body = source.split_once(head).and_then(|(_, rest)| rest.split_once("\n}")).map_or("", |(body, _)| body);
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(c.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceFile;

    fn repository(files: &[(&str, &str)]) -> Repository {
        let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).into(), text: (*text).into() };
        Repository { files: files.iter().map(file).collect(), ..Repository::default() }
    }

    #[test]
    fn flags_and_their_page_agree() {
        let source = ("node/src/config/settings.rs", "#[arg(long, env = \"KV_NODE_SPLIT_SIZE\")]");
        let check = |page| check_flags(&repository(&[source, (FLAGS_PAGE, page)]));
        assert!(check("| `--split-size` | 256 MiB |").is_empty());
        assert_eq!(check("| `--split` | see `--split-size` |").len(), 2);
        assert_eq!(check_flags(&repository(&[])).len(), 1);
    }

    #[test]
    fn commands_are_found_by_their_variants() {
        let source =
            "pub enum Command {\n    /// Gets.\n    Get {\n        key: String,\n    },\n    ForcePromote(X),\n}\n";
        let source = ("client/src/bin/kvctl/arguments.rs", source);
        let check = |page| check_commands(&repository(&[source, (COMMANDS_PAGE, page)]));
        assert!(check("| `get KEY` | `force-promote` |").is_empty());
        assert_eq!(check("| `get KEY` |").len(), 1);
    }

    #[test]
    fn files_that_documents_name_exist() {
        let check = |page| check_files(&repository(&[("node/src/app.rs", ""), ("README.md", page)]));
        assert!(check("`node/src/app.rs` `src/app.rs` `app.rs` `a.b` app2.rs").is_empty());
        assert_eq!(check("`node/app.rs` and `pp.rs`").len(), 2);
    }

    #[test]
    fn targets_that_documents_name_exist() {
        let check = |page| check_targets(&repository(&[("Makefile", "demo: build ## Shows\n"), ("README.md", page)]));
        assert!(check("`make demo`\n```sh\nmake demo # shows\n```\nmake sure").is_empty());
        assert_eq!(check("`make tea`\n```sh\nmake coffee\n```\n").len(), 2);
    }
}
