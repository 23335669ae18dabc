use std::error::Error;

/// An error with all its causes, for a person.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let source = io::Error::other("the disk is full");
        let error = kv_local::Error::Start { program: "java".into(), source };
        assert_eq!(chain(&error), "can't start java: the disk is full");
    }
}
