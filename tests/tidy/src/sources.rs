use crate::Repository;

/// Lines of a source file, at most.
const MAX_LINES: usize = 399;

/// A word that must not be there, and why.
struct Banned {
    /// In two parts, so that this file doesn't hold it.
    word: (&'static str, &'static str),
    /// The end of the paths that are looked at.
    in_files: &'static str,
    why: &'static str,
}

const fn banned(word: (&'static str, &'static str), in_files: &'static str, why: &'static str) -> Banned {
    Banned { word, in_files, why }
}

const REGISTRY: &str = "no host of a package registry is named: the clients know theirs";
const OWN: &str = "speak of the project only";

const BANNED: [Banned; 13] = [
    banned(("todo", "!("), ".rs", "finish it"),
    banned(("unimplemented", "!("), ".rs", "finish it"),
    banned(("dbg", "!("), ".rs", "log it, or leave it out"),
    banned(("crates", ".io"), "", REGISTRY),
    banned(("docs", ".rs/"), "", REGISTRY),
    banned(("proxy.golang", ".org"), "", REGISTRY),
    banned(("sum.golang", ".org"), "", REGISTRY),
    banned(("repo.maven.apache", ".org"), "", REGISTRY),
    banned(("repo1.maven", ".org"), "", REGISTRY),
    banned(("pypi", ".org"), "", REGISTRY),
    banned(("registry.npmjs", ".org"), "", REGISTRY),
    banned(("/tmp/", "brief"), "", OWN),
    banned(("/work/", "shared"), "", OWN),
];

/// Files that are too long.
#[must_use]
pub fn check_length(repository: &Repository) -> Vec<String> {
    let lines = |text: &str| text.lines().count();
    let long = repository.ending(".rs").filter(|file| lines(&file.text) > MAX_LINES);
    long.map(|file| format!("{}: {} lines, at most {MAX_LINES}: part it", file.path, lines(&file.text))).collect()
}

/// Words that must not be anywhere.
#[must_use]
pub fn check_words(repository: &Repository) -> Vec<String> {
    let mut found = Vec::new();
    for Banned { word: (first, second), in_files, why } in &BANNED {
        let word = format!("{first}{second}");
        for file in repository.ending(in_files) {
            let lines = file.text.lines().enumerate().filter(|(_, line)| line.contains(&word));
            found.extend(lines.map(|(at, _)| format!("{}:{}: {word:?}: {why}", file.path, at + 1)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceFile;

    fn repository(path: &str, text: String) -> Repository {
        Repository { files: vec![SourceFile { path: path.into(), text }], ..Repository::default() }
    }

    #[test]
    fn a_file_may_have_as_many_lines_as_the_bound() {
        assert!(check_length(&repository("a.rs", "x\n".repeat(MAX_LINES))).is_empty());
        assert_eq!(check_length(&repository("a.rs", "x\n".repeat(MAX_LINES + 1))).len(), 1);
    }

    #[test]
    fn what_is_unfinished_is_found_with_its_line() {
        let text = format!("fn a() {{\n    {}{});\n}}\n", "todo", "!(");
        let found = check_words(&repository("b.rs", text));
        assert!(found.len() == 1 && found[0].starts_with("b.rs:2: "), "{found:?}");
    }
}
