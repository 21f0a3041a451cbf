//! The files, and what is to be done about them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// What a file says of its account.
const FIELDS: [&str; 5] = ["account", "name", "ou_path", "profile", "spot_account"];

/// A directory with a file for each account.
pub(crate) struct Register(PathBuf);

/// What is to be done for an account.
pub(crate) enum Planned {
    Nothing,
    /// Nothing, for this reason.
    LeftOut(&'static str),
    Step(Value),
}

impl Register {
    pub(crate) fn of(settings: &Value) -> Self {
        Self(PathBuf::from(
            settings["directory"].as_str().unwrap_or_default(),
        ))
    }

    /// Looks whether the file of an account is as it should be.
    pub(crate) fn plan(&self, account: &Value) -> io::Result<Planned> {
        let id = account["account"].as_str().unwrap_or_default();
        let wanted: Value = FIELDS
            .into_iter()
            .filter(|field| !account[*field].is_null())
            .map(|field| (field.to_owned(), account[field].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let file = format!("{id}.json");
        let found = self.read(&file)?;
        let (reason, risk, changes) = match &found {
            Some(found) if *found == wanted => return Ok(Planned::Nothing),
            _ if account["protected"] == true => {
                return Ok(Planned::LeftOut(
                    "it is protected, and its file is not as it should be",
                ));
            }
            _ if account["state"] != "ACTIVE" => {
                return Ok(Planned::LeftOut("it is not active"));
            }
            Some(found) => ("its file differs", "medium", differences(found, &wanted)),
            None => ("it has no file", "low", Vec::new()),
        };
        Ok(Planned::Step(json!({
            "id": format!("write-file:{id}"),
            "kind": "account-register",
            "action": "write-file",
            "accounts": [id],
            "reason": reason,
            "risk": risk,
            "changes": changes,
            "payload": { "file": file, "content": wanted },
        })))
    }

    /// The removal of the files of accounts that are not to be kept.
    pub(crate) fn removals(&self, is_kept: impl Fn(&str) -> bool) -> io::Result<Vec<Value>> {
        let mut gone: Vec<String> = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|error| at(&self.0, error))? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            // Nothing but our own files.
            let is_account = |id: &&str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
            gone.extend(
                id.filter(is_account)
                    .filter(|id| !is_kept(id))
                    .map(str::to_owned),
            );
        }
        gone.sort();
        let steps = gone.into_iter().map(|id| {
            json!({
                "id": format!("remove-file:{id}"),
                "kind": "account-register",
                "action": "remove-file",
                "reason": format!("no account {id} is enrolled any more"),
                "risk": "high",
                "order": 1,
                "payload": { "file": format!("{id}.json") },
            })
        });
        Ok(steps.collect())
    }

    /// Writes a file, whole or not at all. Whether that changed anything.
    pub(crate) fn write(&self, file: &Value, content: &Value) -> io::Result<bool> {
        let name = name(file)?;
        if self.read(name)?.as_ref() == Some(content) {
            return Ok(false);
        }
        let new = self.0.join(format!(".{name}.new"));
        fs::write(&new, format!("{content:#}\n")).map_err(|error| at(&new, error))?;
        let path = self.0.join(name);
        fs::rename(&new, &path).map_err(|error| at(&path, error))?;
        Ok(true)
    }

    /// Removes a file. Whether it was there.
    pub(crate) fn remove(&self, file: &Value) -> io::Result<bool> {
        let path = self.0.join(name(file)?);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path, error)),
        }
    }

    /// What a file says; none when there is none, or when it is no JSON.
    fn read(&self, file: &str) -> io::Result<Option<Value>> {
        let path = self.0.join(file);
        match fs::read(&path) {
            Ok(content) => Ok(Some(serde_json::from_slice(&content).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, error)),
        }
    }
}

/// The name of a file in the directory, and nowhere else.
fn name(file: &Value) -> io::Result<&str> {
    file.as_str()
        .filter(|name| Path::new(name).components().count() == 1 && !name.starts_with('.'))
        .ok_or_else(|| io::Error::other("a step's payload has no name of a file"))
}

fn differences(found: &Value, wanted: &Value) -> Vec<String> {
    let differing = FIELDS
        .into_iter()
        .filter(|field| found[*field] != wanted[*field]);
    differing
        .map(|field| format!("{field}: {} becomes {}", found[field], wanted[field]))
        .collect()
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
