//! Our own images, by the users' Containerfiles. What is in them is what `cargo build` has made last, with the libraries of
//! this host, so that a run of the suites compiles nothing twice.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::run,
    error::{Error, Result},
    images::{
        NODE, OPERATOR,
        build::{Archive, Recipe},
        built,
        closure::with_libraries,
    },
    layout::Layout,
    progress::step,
};

const BASE_CONTAINERFILE: &str = "FROM scratch\nCOPY root /\n";

pub(super) fn node(layout: &Layout) -> Result<Archive> {
    let programs = [("kv-node", built("kv-node", "kv-node")?), ("kvctl", built("kvctl", "kv-client")?)];
    let recipe = recipe(layout, "node", programs.iter().map(|(_, path)| path.as_path()))?;
    let recipe = recipe.program("kv-zookeeper-member", zookeeper_member(layout)?);
    programs.into_iter().fold(recipe, |recipe, (name, path)| recipe.program(name, path)).build(layout, NODE)
}

pub(super) fn operator(layout: &Layout) -> Result<Archive> {
    let program = built("kv-operator", "kv-operator")?;
    recipe(layout, "operator", [program.as_path()])?.program("kv-operator", &program).build(layout, OPERATOR)
}

/// The users' Containerfile, upon the libraries that the programs need.
fn recipe<'a>(layout: &Layout, image: &str, programs: impl IntoIterator<Item = &'a Path>) -> Result<Recipe> {
    let path = layout.tree().join("images").join(image).join("Containerfile");
    let containerfile = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let name = format!("localhost/kv-base-of-{image}:1");
    let base = with_libraries(Recipe::new(BASE_CONTAINERFILE).folder("root/tmp"), programs).build(layout, &name)?;
    Ok(Recipe::new(containerfile).upon(&name, &base))
}

/// It is copied into ZooKeeper's container, where there are no libraries of ours: it has to be static.
fn zookeeper_member(layout: &Layout) -> Result<PathBuf> {
    const NAME: &str = "kv-zookeeper-member";
    let target = layout.tree().join("target/static");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["rustc", "--quiet", "--locked", "--package", NAME, "--bin", NAME, "--target-dir"])
        .arg(&target)
        .args(["--", "-C", "target-feature=+crt-static"])
        .current_dir(layout.tree());
    step("built kv-zookeeper-member without libraries", || run(&mut cargo))?;
    Ok(target.join("debug").join(NAME))
}
