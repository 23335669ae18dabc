use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::ProgressBar;
use kv_client::Client;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    arguments::Formats,
    exit::{self, Failed},
    output::{self, Output},
};

/// How often a drain that is waited for is looked at.
const DRAIN_POLL: Duration = Duration::from_millis(500);

pub async fn drain(client: &Client, output: Output, node: &str, undo: bool, wait: bool) -> Result<(), Failed> {
    let until = Instant::now() + client.deadline();
    let mut remaining = client.drain(node, undo).await?;
    if wait && remaining > 0 {
        let progress = ProgressBar::new(remaining.into()).with_message(format!("draining {node}"));
        let most = remaining;
        while remaining > 0 {
            if Instant::now() + DRAIN_POLL >= until {
                progress.finish_and_clear();
                let message = format!("{node} still holds {remaining} copies and homes; the drain goes on");
                return Err(Failed::new(exit::UNAVAILABLE, message));
            }
            progress.set_position(most.saturating_sub(remaining).into());
            sleep(DRAIN_POLL).await;
            remaining = client.drain(node, undo).await?;
        }
        progress.finish_and_clear();
    }
    match output {
        Output::Json => output::json(&json!({"node": node, "draining": !undo, "remaining": remaining})),
        Output::Table if undo => output::line(&format!("{node} is not drained any more")),
        Output::Table if remaining == 0 => output::line(&format!("{node} holds nothing any more")),
        Output::Table => output::line(&format!("{node} is drained: {remaining} copies and homes are left")),
    }
}

pub async fn handover(client: &Client, output: Output, shard: u64, node: &str) -> Result<(), Failed> {
    let done = client.handover(shard, node).await?;
    let millis = done.pause.as_secs_f64() * 1000.0;
    match output {
        Output::Json => {
            output::json(&json!({"shard": shard, "primary": node, "epoch": done.epoch, "pause_millis": millis}))
        }
        Output::Table => {
            output::line(&format!("{node} serves shard {shard} in epoch {} (pause {millis:.1} ms)", done.epoch))
        }
    }
}

pub async fn split(client: &Client, formats: Formats, shard: u64, at: Option<String>) -> Result<(), Failed> {
    let at = at.map(|at| formats.key_format.parse("key", &at)).transpose()?;
    let done = client.split(shard, at).await?;
    match formats.output {
        Output::Json => {
            let at = formats.key_format.json(&done.at);
            let mut object = json!({"shard": shard, "child": done.child, "at": at.text});
            if let Some(fallback) = at.fallback {
                object["at_format"] = json!(fallback);
            }
            output::json(&object)
        }
        Output::Table => {
            let at = formats.key_format.line(&done.at);
            output::line(&format!("shard {} begins at {at}", done.child))
        }
    }
}

pub async fn move_home(client: &Client, output: Output, shard: u64, node: &str) -> Result<(), Failed> {
    client.move_home(shard, node).await?;
    match output {
        Output::Json => output::json(&json!({"shard": shard, "home": node})),
        Output::Table => output::line(&format!("{node} is the home of shard {shard}; its copy follows")),
    }
}

pub async fn force_promote(
    client: &Client,
    output: Output,
    shard: u64,
    node: &str,
    empty: bool,
    yes: bool,
) -> Result<(), Failed> {
    if !yes {
        let preview = client.force_promote(shard, node, empty, false).await?;
        eprintln!("{}", preview.message);
        confirm("the number of the shard", &shard.to_string())?;
    }
    let done = client.force_promote(shard, node, empty, true).await?;
    match output {
        Output::Json => {
            output::json(&json!({"shard": shard, "node": node, "done": done.done, "message": done.message}))?;
        }
        Output::Table => output::line(&done.message)?,
    }
    if done.done { Ok(()) } else { Err(Failed::silent(exit::PRECONDITION)) }
}

pub async fn rebuild_zookeeper(client: &Client, output: Output, yes: bool) -> Result<(), Failed> {
    if !yes {
        let preview = client.rebuild_zookeeper(false).await?;
        eprintln!("{}", preview.message);
        confirm("the word", "rebuild")?;
    }
    let done = client.rebuild_zookeeper(true).await?;
    match output {
        Output::Json => output::json(&json!({"done": done.done, "message": done.message}))?,
        Output::Table => output::line(&done.message)?,
    }
    if done.done { Ok(()) } else { Err(Failed::silent(exit::PRECONDITION)) }
}

/// Only a person who types `wanted` may lose data.
fn confirm(what: &str, wanted: &str) -> Result<(), Failed> {
    if !io::stdin().is_terminal() {
        return Err(Failed::usage("not confirmed: there is no terminal to ask at; give --yes"));
    }
    eprint!("Type {what} ({wanted}) to go on: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == wanted { Ok(()) } else { Err(Failed::new(exit::ERROR, "not confirmed: nothing was done")) }
}
