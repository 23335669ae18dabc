use std::io::{self, IsTerminal, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the terminal is set, if there is one.
pub fn save() -> Option<Termios> {
    let stdin = io::stdin();
    stdin.is_terminal().then(|| tcgetattr(&stdin).ok())?
}

/// Sets it as it was: a signal may end the shell while a line is being typed.
pub fn restore(saved: Option<Termios>) {
    let Some(saved) = saved else { return };
    // Bracketed paste is switched on while a line is typed.
    let _ = write!(io::stdout(), "\x1b[?2004l");
    let _ = io::stdout().flush();
    if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &saved) {
        tracing::debug!(%error, "can't restore the terminal");
    }
}
