//! moto: an AWS that we did not write.

use std::net::{SocketAddr, TcpListener, TcpStream};
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
        // Free until moto takes it. Should another program be quicker, moto ends and says so.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut process = Background::start(Command::new(venv.join("bin/moto_server")).args([
            "-H",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
        ]))?;
        until(START, "moto listens", || {
            process.check()?;
            Ok(TcpStream::connect(address).ok())
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
