//! All checks, on this repository.

use crate::*;

fn holds(check: impl Fn(&Repository) -> Vec<String>) {
    let repository = Repository::open().expect("the repository can be read");
    assert!(
        repository.packages.len() > 5 && repository.files.len() > 100 && repository.dependencies.len() > 50,
        "hardly anything was found to look at"
    );
    let found = check(&repository);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn files_are_short() {
    holds(check_length);
}

#[test]
fn nothing_is_unfinished_and_no_foreign_place_is_named() {
    holds(check_words);
}

#[test]
fn names_are_used_where_they_may_be() {
    holds(check_imports);
}

#[test]
fn crates_depend_one_way() {
    holds(check_directions);
}

#[test]
fn every_crate_takes_the_lints() {
    holds(check_lints);
}

#[test]
fn licences_are_ours() {
    holds(check_licences);
}

#[test]
fn dependencies_are_releases() {
    holds(check_sources);
}

#[test]
fn dependencies_are_there_once() {
    holds(check_versions);
}

#[test]
fn links_lead_somewhere() {
    holds(check_links);
}

#[test]
fn named_files_exist() {
    holds(check_files);
}

#[test]
fn every_flag_is_described() {
    holds(check_flags);
}

#[test]
fn every_command_is_described() {
    holds(check_commands);
}

#[test]
fn rules_and_reasons_are_described() {
    holds(check_names);
}

#[test]
fn targets_exist() {
    holds(check_targets);
}
