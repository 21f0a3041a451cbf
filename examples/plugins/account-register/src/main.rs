//! An example of a plugin (docs/plugins.md): keeps one JSON file for each account in a directory, for a CMDB or a wiki that imports files.
//!
//! This file speaks the protocol: a line in, one or more lines out, until stdin ends. What there is to do is in `register`.

mod register;

use std::io::{self, BufRead as _, Write as _};

use register::{Planned, Register};
use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        for mut answer in answers(&request) {
            answer["id"] = request["id"].clone();
            writeln!(stdout, "{answer}")?;
        }
        stdout.flush()?;
    }
    Ok(())
}

fn answers(request: &Value) -> Vec<Value> {
    let answered = match request["type"].as_str() {
        Some("describe") => Ok(vec![described()]),
        Some("plan") => plan(request),
        Some("apply") => apply(request).map(|answer| vec![answer]),
        // A step is done before anything else is read: there is never something to cancel.
        _ => Ok(Vec::new()),
    };
    answered.unwrap_or_else(|error| {
        vec![json!({ "type": "failed", "class": class(&error), "message": error.to_string() })]
    })
}

/// Whether it is worth to be tried again.
fn class(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "denied",
        io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => "transient",
        _ => "failed",
    }
}

fn described() -> Value {
    json!({ "type": "described", "plugin": {
        "protocol": 1,
        "kind": "account-register",
        "summary": "keeps one JSON file for each account in a directory",
        "settings": {
            "type": "object",
            "description": "Where the files are.",
            "required": ["directory"],
            "properties": {
                "directory": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The directory; it must be there. A relative path is looked up from the runner's working directory.",
                },
            },
        },
        "actions": {
            "write-file": "writes the file of an account",
            "remove-file": "removes the file of an account that is not there any more",
        },
        "parallel": 4,
    }})
}

fn plan(request: &Value) -> io::Result<Vec<Value>> {
    let register = Register::of(&request["settings"]);
    let accounts = request["accounts"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let kept = request["protected_accounts"].as_array();
    let mut lines = Vec::new();
    let (mut due, mut skipped) = (0, 0);
    for account in accounts {
        let step = match register.plan(account)? {
            Planned::Nothing => continue,
            Planned::LeftOut(reason) => {
                skipped += 1;
                let account = &account["account"];
                lines.push(json!({ "type": "skip", "account": account, "reason": reason }));
                continue;
            }
            Planned::Step(step) => step,
        };
        due += 1;
        lines.push(json!({ "type": "step", "step": step }));
    }
    let is_kept = |id: &str| {
        let mut known = accounts.iter().map(|account| &account["account"]);
        known.any(|known| known == id) || kept.into_iter().flatten().any(|known| known == id)
    };
    for step in register.removals(is_kept)? {
        lines.push(json!({ "type": "step", "step": step }));
    }
    let steps = lines.iter().filter(|line| line["type"] == "step").count();
    lines.push(json!({ "type": "planned", "totals": {
        "accounts": accounts.len(),
        "settled": accounts.len() - due - skipped,
        "due": due,
        "skipped": skipped,
        "steps": steps,
        "findings": 0,
    }}));
    Ok(lines)
}

fn apply(request: &Value) -> io::Result<Value> {
    let register = Register::of(&request["settings"]);
    let (step, payload) = (&request["step"], &request["step"]["payload"]);
    let has_changed = match step["action"].as_str() {
        Some("write-file") => register.write(&payload["file"], &payload["content"])?,
        Some("remove-file") => register.remove(&payload["file"])?,
        _ => return Err(io::Error::other("there is no such action")),
    };
    Ok(match has_changed {
        true => json!({ "type": "done", "note": payload["file"] }),
        false => json!({ "type": "unchanged" }),
    })
}
