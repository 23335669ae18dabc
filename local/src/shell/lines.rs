use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::Path,
    sync::mpsc as blocking,
    thread,
};

use tokio::sync::mpsc;

use super::terminal::{self, Printer};

/// Reads the next line; `None` at the end.
pub type Reader = Box<dyn FnMut() -> io::Result<Option<String>> + Send>;

/// Where the shell's lines come from. They are read by a thread, one at a time and only when asked for: a line of a
/// terminal is read when the one before it is done.
#[derive(Debug)]
pub struct Lines {
    wanted: blocking::Sender<()>,
    read: mpsc::Receiver<io::Result<Option<String>>>,
    printer: Printer,
}

impl Lines {
    /// A script, or else standard input: a terminal (with editing, history and completion) or a pipe.
    ///
    /// # Errors
    /// Those of opening the script or the terminal.
    pub fn open(script: Option<&Path>) -> io::Result<Self> {
        if let Some(script) = script {
            let file = File::open(script).map_err(|error| {
                io::Error::new(error.kind(), format!("can't read the script {}: {error}", script.display()))
            })?;
            return Self::start(plain(BufReader::new(file)), Printer::Plain);
        }
        if io::stdin().is_terminal() {
            let (reader, printer) = terminal::open().map_err(io::Error::other)?;
            return Self::start(reader, printer);
        }
        Self::start(plain(BufReader::new(io::stdin())), Printer::Plain)
    }

    fn start(mut reader: Reader, printer: Printer) -> io::Result<Self> {
        let (wanted, requests) = blocking::channel();
        let (lines, read) = mpsc::channel(1);
        thread::Builder::new().name("kv-local-lines".to_owned()).spawn(move || {
            for () in requests {
                if lines.blocking_send(reader()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { wanted, read, printer })
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// Those of reading; a line that is not UTF-8.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        if self.wanted.send(()).is_err() {
            return Ok(None);
        }
        self.read.recv().await.unwrap_or(Ok(None))
    }

    /// Prints without getting in the way of a line that is being typed.
    pub const fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Whether a person types.
    pub const fn is_terminal(&self) -> bool {
        matches!(self.printer, Printer::Terminal(_))
    }
}

fn plain(mut input: impl BufRead + Send + 'static) -> Reader {
    Box::new(move || {
        let mut line = String::new();
        Ok((input.read_line(&mut line)? > 0).then_some(line))
    })
}
