use std::{
    borrow::Cow,
    fmt, fs,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustyline::{
    CompletionType, Config, Context, Editor, ExternalPrinter, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::DefaultHistory, validate::Validator,
};

use super::{command::COMMANDS, lines::Reader};

const PROMPT: &str = "kv> ";
/// Lines that are kept from one run to the next.
const HISTORY: usize = 1_000;

/// Prints beside what is being typed, or plainly where nothing is.
#[derive(Clone)]
pub enum Printer {
    /// To standard output.
    Plain,
    /// Above the line that is being typed.
    Terminal(Arc<Mutex<dyn ExternalPrinter + Send>>),
}

impl Printer {
    /// Prints a text of one or more lines, without the last line's end.
    pub fn print(&self, text: &str) {
        let printed = match self {
            Self::Plain => writeln!(io::stdout(), "{text}"),
            Self::Terminal(printer) => {
                let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
                printer.print(format!("{text}\n")).map_err(io::Error::other)
            }
        };
        // A pipe whose reader has gone: there is nobody to tell.
        if let Err(error) = printed {
            tracing::debug!(%error, "can't print");
        }
    }
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Terminal(_) => "Terminal",
        })
    }
}

/// A terminal with editing, history, completion and hints.
pub fn open() -> rustyline::Result<(Reader, Printer)> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .auto_add_history(true)
        .build();
    let mut editor: Editor<Assistant, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Assistant));
    let history = history_file();
    if let Some(history) = history.as_ref().filter(|file| file.exists()) {
        editor.load_history(history)?;
    }
    let printer = Printer::Terminal(Arc::new(Mutex::new(editor.create_external_printer()?)));
    let reader = move || match editor.readline(PROMPT) {
        Ok(line) => {
            if let Some(history) = &history
                && let Err(error) = editor.append_history(history)
            {
                tracing::debug!(%error, "can't keep the history");
            }
            Ok(Some(line))
        }
        Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
        Err(ReadlineError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    };
    Ok((Box::new(reader), printer))
}

/// `kvcluster/history` where the user's programs keep their state.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let directory = state.or_else(home)?.join("kvcluster");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("kv-local-history"))
}

/// Completes commands and the few arguments that have names, and hints at the arguments.
struct Assistant;

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _context: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, candidates) = candidates(&line[..position]);
        Ok((start, candidates.into_iter().map(|candidate| format!("{candidate} ")).collect()))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _context: &Context<'_>) -> Option<String> {
        let name = line.strip_suffix(' ').filter(|_| position == line.len())?;
        let usage = COMMANDS.iter().find(|usage| usage.name == name)?;
        (!usage.arguments.is_empty()).then(|| usage.arguments.to_owned())
    }
}

impl Highlighter for Assistant {
    /// Faint, to be told from what was typed.
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Validator for Assistant {}

impl Helper for Assistant {}

/// Where the last word of `line` begins, and what it may become.
fn candidates(line: &str) -> (usize, Vec<&'static str>) {
    let start = line.rfind(' ').map_or(0, |space| space + 1);
    let word = &line[start..];
    let before: Vec<_> = line[..start].split_whitespace().collect();
    let names: Vec<&'static str> = match before[..] {
        [] => COMMANDS.iter().map(|usage| usage.name).collect(),
        ["wipe", _] => vec!["data", "bkpdata"],
        ["watch"] => vec!["off"],
        _ => Vec::new(),
    };
    (start, names.into_iter().filter(|name| name.starts_with(word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_commands_and_volumes() {
        assert_eq!(candidates("rmi"), (0, vec!["rmi-down", "rmi-up"]));
        assert_eq!(candidates("wipe 0 b"), (7, vec!["bkpdata"]));
        assert_eq!(candidates("get 0 w"), (6, vec![]));
        assert_eq!(candidates("").1.len(), COMMANDS.len());
    }

    #[test]
    fn hints_at_arguments() {
        let history = DefaultHistory::new();
        let context = Context::new(&history);
        assert_eq!(Assistant.hint("put ", 4, &context).as_deref(), Some("ID KEY VALUE"));
        assert_eq!(Assistant.hint("list ", 5, &context), None);
        assert_eq!(Assistant.hint("put 0", 5, &context), None);
    }
}
