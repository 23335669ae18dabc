use std::time::Duration;

use kv_local::Folder;

use super::words;

/// What the shell can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    List,
    NewClient,
    Get { id: usize, key: String },
    Put { id: usize, key: String, value: String },
    Delete { id: usize, key: String },
    RmiDown(usize),
    RmiUp(usize),
    ZkDown(usize),
    ZkUp(usize),
    Kill(usize),
    Pause(usize),
    Resume(usize),
    Start(usize),
    Wipe { id: usize, folder: Folder },
    Status,
    Shards,
    Watch { prefix: String },
    WatchOff,
    Wait,
    Sleep(Duration),
    Exit,
}

/// One line of the help, and what the parser and the completion go by.
#[derive(Debug)]
pub struct Usage {
    pub name: &'static str,
    pub arguments: &'static str,
    pub what: &'static str,
}

const fn usage(name: &'static str, arguments: &'static str, what: &'static str) -> Usage {
    Usage { name, arguments, what }
}

/// All commands, in the order of the help.
pub const COMMANDS: &[Usage] = &[
    usage("list", "", "the nodes: ids, processes, addresses, what is cut"),
    usage("new-client", "", "adds a node and starts it"),
    usage("get", "ID KEY", "reads a key from that node"),
    usage("put", "ID KEY VALUE", "writes a key through that node"),
    usage("delete", "ID KEY", "deletes a key through that node"),
    usage("rmi-down", "ID", "cuts what reaches the node from peers and clients"),
    usage("rmi-up", "ID", "undoes that"),
    usage("zk-down", "ID", "cuts the node off ZooKeeper"),
    usage("zk-up", "ID", "undoes that"),
    usage("kill", "ID", "SIGKILL: a crash"),
    usage("pause", "ID", "SIGSTOP: a process that hangs"),
    usage("resume", "ID", "SIGCONT"),
    usage("start", "ID", "starts a node that was killed"),
    usage("wipe", "ID data|bkpdata", "empties a volume of a killed node: a new disk"),
    usage("status", "", "alive or dead, the master's address, every node's role and lag"),
    usage("shards", "", "who serves which keys, and where the copies are"),
    usage("watch", "[PREFIX|off]", "prints every change of keys (that begin so) from now on, until `watch off`"),
    usage("wait", "", "waits (60 s at most) until every node that runs is ready"),
    usage("sleep", "DURATION", "does nothing for so long, such as 500ms or 2s; for scripts"),
    usage("help", "", "this"),
    usage("exit", "", "ends the cluster (as do Ctrl-C and Ctrl-D)"),
];

/// The longest `sleep`.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

impl Command {
    /// What a line says; `None` if it says nothing.
    ///
    /// # Errors
    /// Says what is wrong, and how the command is used.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let words = words::split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((&name, arguments)) = words.split_first() else { return Ok(None) };
        let command = match (name, arguments) {
            ("help" | "?", []) => Self::Help,
            ("list", []) => Self::List,
            ("new-client", []) => Self::NewClient,
            ("get", [id, key]) => Self::Get { id: node(id)?, key: text(key)? },
            ("put", [id, key, value]) => Self::Put { id: node(id)?, key: text(key)?, value: (*value).to_owned() },
            ("delete", [id, key]) => Self::Delete { id: node(id)?, key: text(key)? },
            ("rmi-down", [id]) => Self::RmiDown(node(id)?),
            ("rmi-up", [id]) => Self::RmiUp(node(id)?),
            ("zk-down", [id]) => Self::ZkDown(node(id)?),
            ("zk-up", [id]) => Self::ZkUp(node(id)?),
            ("kill", [id]) => Self::Kill(node(id)?),
            ("pause", [id]) => Self::Pause(node(id)?),
            ("resume", [id]) => Self::Resume(node(id)?),
            ("start", [id]) => Self::Start(node(id)?),
            ("wipe", [id, name]) => Self::Wipe { id: node(id)?, folder: folder(name)? },
            ("status", []) => Self::Status,
            ("shards", []) => Self::Shards,
            ("watch", []) => Self::Watch { prefix: String::new() },
            ("watch", ["off"]) => Self::WatchOff,
            ("watch", [prefix]) => Self::Watch { prefix: (*prefix).to_owned() },
            ("wait", []) => Self::Wait,
            ("sleep", [duration]) => Self::Sleep(sleep(duration)?),
            ("exit" | "quit", []) => Self::Exit,
            _ => return Err(misuse(name)),
        };
        Ok(Some(command))
    }
}

fn misuse(name: &str) -> String {
    match COMMANDS.iter().find(|usage| usage.name == name) {
        Some(Usage { name, arguments: "", what: _ }) => format!("`{name}` takes no argument"),
        Some(Usage { name, arguments, what: _ }) => format!("write `{name} {arguments}`"),
        None => format!("there is no command `{name}`: `help` lists them"),
    }
}

fn node(text: &str) -> Result<usize, String> {
    // Names are accepted as well as numbers: `kv-0` is what logs and tables say.
    let number = text.strip_prefix("kv-").unwrap_or(text);
    number.parse().map_err(|_| format!("`{text}` is no node: write its number, such as 0"))
}

fn text(key: &str) -> Result<String, String> {
    if key.is_empty() { Err("the key is empty: write 1 to 4096 bytes".into()) } else { Ok(key.into()) }
}

fn folder(name: &str) -> Result<Folder, String> {
    let folder = [Folder::Data, Folder::Bkpdata].into_iter().find(|folder| folder.name() == name);
    folder.ok_or_else(|| format!("`{name}` is no volume: write data or bkpdata"))
}

fn sleep(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is no duration ({error}): write 500ms or 2s"))?;
    if duration > LONGEST_SLEEP {
        return Err(format!("`{text}` is too long: 1h at most"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Command {
        Command::parse(line).expect("it is right").expect("it says something")
    }

    #[test]
    fn commands_as_people_write_them() {
        let get = |id, key: &str| Command::Get { id, key: key.into() };
        assert_eq!(parse("get 0 foo"), get(0, "foo"));
        assert_eq!(parse(" get kv-12 'a key' # comment"), get(12, "a key"));
        let (key, value) = ("foo".to_owned(), String::new());
        assert_eq!(parse("put 1 foo ''"), Command::Put { id: 1, key, value });
        assert_eq!(parse("wipe 2 bkpdata"), Command::Wipe { id: 2, folder: Folder::Bkpdata });
        assert_eq!(parse("sleep 500ms"), Command::Sleep(Duration::from_millis(500)));
        assert_eq!(parse("watch off"), Command::WatchOff);
        assert_eq!(parse("watch user:"), Command::Watch { prefix: "user:".into() });
        assert_eq!(Command::parse("  # only a comment"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        let error = |line: &str| Command::parse(line).expect_err("it is wrong");
        assert_eq!(error("put 0 foo"), "write `put ID KEY VALUE`");
        assert_eq!(error("list 1"), "`list` takes no argument");
        assert!(error("frobnicate").contains("no command `frobnicate`"));
        assert!(error("kill -1").contains("`-1` is no node"));
        assert!(error("get 0 ''").contains("empty"));
        assert!(error("wipe 0 logs").contains("data or bkpdata"));
        assert!(error("sleep 2h").contains("1h at most"));
        assert!(error("put 0 k \"v").contains("not closed"));
    }

    #[test]
    fn every_command_of_the_help_exists_and_takes_what_it_says() {
        for Usage { name, arguments, what } in COMMANDS {
            assert!(!what.is_empty());
            let arguments = arguments
                .replace("data|bkpdata", "data")
                .replace("[PREFIX|off]", "p")
                .replace("DURATION", "1s")
                .replace("ID", "0");
            let line = format!("{name} {arguments}");
            assert!(matches!(Command::parse(&line), Ok(Some(_))), "{line}");
        }
    }
}
