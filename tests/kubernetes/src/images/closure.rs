use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{command::run, images::build::Recipe};

/// The loader and the shared libraries that programs need, where they lie on this host.
pub(super) fn libraries<'a>(programs: impl IntoIterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    // One that needs none is an error to `ldd`.
    let told = programs.into_iter().filter_map(|program| run(Command::new("ldd").arg(program)).ok());
    told.flat_map(|text| text.lines().filter_map(library).collect::<Vec<_>>()).collect()
}

/// Adds what programs need to the folder `root` of a recipe.
pub(super) fn with_libraries<'a>(recipe: Recipe, programs: impl IntoIterator<Item = &'a Path>) -> Recipe {
    let add = |recipe: Recipe, library: PathBuf| recipe.file(in_root(&library), library);
    libraries(programs).into_iter().fold(recipe, add)
}

/// Where a file of this host lies in the folder `root` of a recipe.
pub(super) fn in_root(path: &Path) -> PathBuf {
    Path::new("root").join(path.strip_prefix("/").unwrap_or(path))
}

/// Of `libm.so.6 => /lib/libm.so.6 (0x1)` and of `/lib64/ld-linux.so.2 (0x1)`, the path.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.rsplit_once("=> ").map_or(line, |(_, path)| path);
    let path = path.trim().split(" (").next()?;
    path.starts_with('/').then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_needs_is_found() {
        let path = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(path("\tlibm.so.6 => /lib/libm.so.6 (0x00007f)").as_deref(), Some("/lib/libm.so.6"));
        assert_eq!(path("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)").as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007ffe)"), None);
        assert_eq!(path("\tlibjvm.so => not found"), None);
    }
}
