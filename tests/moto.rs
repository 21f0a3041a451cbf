//! moto: an AWS that we did not write.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::components;
use crate::process::{Background, until};
use crate::wire::Wire;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

/// A `moto_server` of our own; dropped, it ends.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    _process: Background,
}

impl Moto {
    /// Starts it with nothing in it; `None` when it is not installed here, see [`components::venv`].
    ///
    /// # Errors
    /// It cannot be started, or the tests must not run without it.
    pub fn start() -> Result<Option<Self>> {
        let Some(venv) = components::venv()? else {
            return Ok(None);
        };
        // It takes a free port itself and says which. Connecting until it listens would now and then connect to itself:
        // a free port is also one that the kernel may give to the connecting side.
        let mut process = Background::start(Command::new(venv.join("bin/moto_server")).args([
            "-H",
            "127.0.0.1",
            "-p",
            "0",
        ]))?;
        let address = until(START, "moto says where it listens", || {
            process.check()?;
            Ok(address(&process.stderr()?))
        })?;
        Ok(Some(Self {
            address,
            _process: process,
        }))
    }

    /// Its base URL, for every service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts things into it, as the account that it gives to whoever asks.
    #[must_use]
    pub fn wire(&self) -> Wire {
        Wire::new(self.endpoint(), "AKIATEST")
    }
}

/// The address in its line ` * Running on http://127.0.0.1:41877`, once the line is whole.
fn address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("Running on http://")?;
    rest.split_once('\n')?.0.trim().parse().ok()
}
