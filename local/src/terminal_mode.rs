use std::io::{self, IsTerminal};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the terminal is set, if there is one.
pub fn save() -> Option<Termios> {
    let stdin = io::stdin();
    stdin.is_terminal().then(|| tcgetattr(&stdin).ok())?
}

/// Sets it as it was: a signal may end the shell while a line is being typed.
pub fn restore(saved: Option<Termios>) {
    if let Some(saved) = saved
        && let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &saved)
    {
        tracing::debug!(%error, "can't restore the terminal");
    }
}
