use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What each input reaches, as libFuzzer has written it down.
pub(crate) struct Reached(BTreeMap<PathBuf, BTreeSet<u32>>);

impl Reached {
    /// Takes the control file of a merge: the number of inputs, how many are of the first folder, the path of each, and
    /// lines `FT input branch branch …` among others.
    pub(crate) fn read(control: &str) -> Self {
        let mut lines = control.lines();
        let mut number = || lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let (count, _) = (number(), number());
        let paths: Vec<PathBuf> = lines.by_ref().take(count).map(PathBuf::from).collect();
        let mut reached: BTreeMap<PathBuf, BTreeSet<u32>> = BTreeMap::new();
        for line in lines {
            let Some(rest) = line.strip_prefix("FT ") else { continue };
            let mut numbers = rest.split(' ').filter_map(|number| number.parse::<u32>().ok());
            let path = numbers.next().and_then(|input| paths.get(usize::try_from(input).ok()?));
            if let Some(path) = path {
                reached.entry(path.clone()).or_default().extend(numbers);
            }
        }
        Self(reached)
    }

    /// Up to `most` inputs that don't lie in `kept`, each the one that reaches most of what those in `kept` and the ones
    /// before it don't.
    pub(crate) fn best(mut self, kept: &Path, most: usize) -> Vec<PathBuf> {
        let mut known: BTreeSet<u32> = BTreeSet::new();
        self.0.retain(|path, branches| {
            let is_kept = path.parent() == Some(kept);
            if is_kept {
                known.append(branches);
            }
            !is_kept
        });
        let mut best = Vec::new();
        while best.len() < most {
            let new = |branches: &BTreeSet<u32>| branches.difference(&known).count();
            let next = self.0.iter().map(|(path, branches)| (new(branches), path)).max();
            let Some((_, path)) = next.filter(|(new, _)| *new > 0) else { break };
            let path = path.clone();
            known.extend(self.0.remove(&path).into_iter().flatten());
            best.push(path);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_are_kept_that_reach_most_of_what_the_kept_ones_do_not() {
        let control = "4\n0\n/kept/a\n/grown/b\n/grown/c\n/grown/d\n\
            STARTED 0 9\nFT 0 1 2 3\nCOV 0 7\nSTARTED 1 9\nFT 1 1 2 3\nFT 2 3 4 5 6\nFT 3 6 7\n";
        let best = |most| Reached::read(control).best(Path::new("/kept"), most);
        assert_eq!(best(1), [PathBuf::from("/grown/c")]);
        assert_eq!(best(9), ["/grown/c", "/grown/d"].map(PathBuf::from));
    }
}
