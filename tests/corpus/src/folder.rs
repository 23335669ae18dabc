use std::{
    fs,
    path::{Path, PathBuf},
};

use sha1::{Digest as _, Sha1};

use crate::Seed;

/// The kept inputs of one target.
pub(crate) struct Folder(PathBuf);

/// Where those of all targets lie.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// As libFuzzer names its files, so that both agree on what they have.
fn name_of(bytes: &[u8]) -> String {
    hex::encode(Sha1::digest(bytes))
}

impl Folder {
    pub(crate) fn of(target: &str) -> Self {
        Self(root().join(target))
    }

    /// All inputs, in the order of their names.
    #[allow(clippy::panic, reason = "a test can't go on without its inputs")]
    pub(crate) fn read(&self) -> Vec<Vec<u8>> {
        let read = || {
            let mut paths =
                fs::read_dir(&self.0)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
            paths.sort();
            paths.into_iter().map(fs::read).collect::<std::io::Result<Vec<_>>>()
        };
        match read() {
            Ok(inputs) if !inputs.is_empty() => inputs,
            Ok(_) => panic!("{} is empty: run `make fuzz-corpus`", self.0.display()),
            Err(error) => panic!("{} can't be read: {error}", self.0.display()),
        }
    }

    #[allow(clippy::panic, reason = "only a person asks for it")]
    pub(crate) fn write(&self, seeds: &[Seed]) {
        let write = |seed: &Seed| {
            fs::create_dir_all(&self.0)?;
            let name = seed.name.map_or_else(|| name_of(&seed.bytes), str::to_owned);
            fs::write(self.0.join(name), &seed.bytes)
        };
        if let Err(error) = seeds.iter().try_for_each(write) {
            panic!("{} can't be written: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_corpus_is_small_and_named_by_its_content() {
        let (mut files, mut bytes) = (0, 0);
        for target in fs::read_dir(root()).unwrap() {
            for input in fs::read_dir(target.unwrap().path()).unwrap() {
                let path = input.unwrap().path();
                let content = fs::read(&path).unwrap();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let is_find = name.contains('-');
                assert!(is_find || name == name_of(&content), "{}: it is not named by its content", path.display());
                files += 1;
                bytes += content.len();
            }
        }
        assert!(files > 0 && files < 200 && bytes < 300 << 10, "{files} files of {bytes} bytes");
    }

    #[test]
    fn every_target_has_a_corpus_and_every_corpus_a_target() {
        let names = |folder: PathBuf| {
            let mut names: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(root()), names(root().join("../fuzz_targets")));
    }
}
