//! Stands between a client and a server on the loopback interface, passes on what both say, and keeps what the client says.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinHandle,
};

/// A tap that listens until it is dropped.
#[derive(Debug)]
pub struct Tap {
    /// Its address, in place of the server's.
    pub endpoint: String,
    heard: Arc<Mutex<Vec<u8>>>,
    server: JoinHandle<()>,
}

impl Tap {
    /// Listens on a free port and passes on to a server at `http://HOST:PORT`.
    ///
    /// # Errors
    /// It cannot listen, or the address is another one.
    pub async fn start(server: &str) -> Result<Self> {
        let server = server.strip_prefix("http://").context("not plain http")?;
        let server = server.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let heard = Arc::new(Mutex::default());
        let keeps = Arc::clone(&heard);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client whose server is not there sees its connection end.
                if let Ok(server) = TcpStream::connect(&server).await {
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(pass(from_client, to_server, Some(Arc::clone(&keeps))));
                    tokio::spawn(pass(from_server, to_client, None));
                }
            }
        });
        Ok(Self {
            endpoint,
            heard,
            server,
        })
    }

    /// What clients have said so far.
    #[must_use]
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Passes on until either side ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, keeps: Option<Arc<Mutex<Vec<u8>>>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if let Some(keeps) = &keeps {
            let mut heard = keeps.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend_from_slice(&buffer[..count]);
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
