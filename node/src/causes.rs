//! Errors with all that caused them, for a person.

use std::error::Error;

/// What went wrong, and why, in one line: an error alone may only say where.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let why = error.to_string();
        // Some say what they come from themselves.
        if !text.ends_with(&why) {
            text = format!("{text}: {why}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Nested {
        #[error("the volume can't be used")]
        Silent(#[source] std::io::Error),
        #[error("the table is damaged: {0}")]
        Telling(#[source] std::io::Error),
    }

    #[test]
    fn every_cause_is_said_once() {
        let full = || std::io::Error::other("the disk is full");
        assert_eq!(chain(&Nested::Silent(full())), "the volume can't be used: the disk is full");
        assert_eq!(chain(&Nested::Telling(full())), "the table is damaged: the disk is full");
    }
}
