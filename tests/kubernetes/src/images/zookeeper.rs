//! Stands for the official image of ZooKeeper, with its paths, variables and user. The programs are real: the jars that
//! Maven has, and this host's Java.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kv_local::zookeeper::Jars;

use crate::{
    error::{Error, Result},
    images::{
        ZOOKEEPER,
        build::{Archive, Recipe},
        closure::{in_root, libraries},
        tools::with_shell,
    },
    layout::Layout,
};

const CONTAINERFILE: &str = include_str!("../../images/zookeeper/Containerfile");
const ENTRYPOINT: &str = include_str!("../../images/zookeeper/docker-entrypoint.sh");
const START: &str = include_str!("../../images/zookeeper/zkServer.sh");
const HOME: &str = "root/apache-zookeeper-3.9.4-bin";
const USERS: &str = "root:x:0:0:root:/:/bin/sh\nzookeeper:x:1000:1000:ZooKeeper:/:/bin/sh\n";
/// Folders of a Java that servers need nothing of.
const LEFT_OUT: [&str; 4] = ["jmods", "man", "legal", "docs"];

pub(super) fn zookeeper(layout: &Layout) -> Result<Archive> {
    let jars = Jars::fetch().map_err(Error::ZooKeeper)?;
    let java = jars.java().canonicalize().map_err(Error::file("find", jars.java()))?;
    let java_home = java.parent().and_then(Path::parent).unwrap_or(&java);
    let class_path = jars.class_path();
    let jars = Path::new(class_path.split(':').next().unwrap_or_default());

    let mut recipe = with_shell(Recipe::new(CONTAINERFILE))?
        .text("root/etc/passwd", USERS)
        .script("root/docker-entrypoint.sh", ENTRYPOINT)
        .script(format!("{HOME}/bin/zkServer.sh"), START)
        .link("root/bin/java", "/usr/lib/jvm/java/bin/java")
        .folder("root/tmp");
    for folder in ["conf", "data", "datalog", "logs"] {
        recipe = recipe.folder(format!("owned/{folder}"));
    }
    for jar in files_below(jars)?.into_iter().filter(|file| file.extension().is_some_and(|end| end == "jar")) {
        let name = Path::new(HOME).join("lib").join(jar.file_name().unwrap_or_default());
        recipe = recipe.file(name, &jar);
    }
    let of_java = files_below(java_home)?;
    for file in &of_java {
        let within = file.strip_prefix(java_home).unwrap_or(file);
        recipe = recipe.file(Path::new("root/usr/lib/jvm/java").join(within), file);
    }
    // Parts of Java name each other by where they lie; the rest is the host's.
    let parts = of_java.iter().map(PathBuf::as_path).filter(|file| is_native(file));
    let native = libraries(parts).into_iter().filter(|library| !library.starts_with(java_home));
    native.fold(recipe, |recipe, library| recipe.file(in_root(&library), library)).build(layout, ZOOKEEPER)
}

fn is_native(file: &Path) -> bool {
    file.ends_with("bin/java") || file.extension().is_some_and(|end| end == "so")
}

/// All files below a folder. Links are followed; those that lead nowhere are left out.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
        for entry in entries.flatten().filter(|entry| !LEFT_OUT.iter().any(|name| entry.file_name() == *name)) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    Ok(found)
}
