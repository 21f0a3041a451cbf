//! Stands between a process and the simulated Spot: tells with which token each call comes, says itself which tokens are good,
//! and holds one call back.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;

/// What of a call is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// All of it: Spot has not heard of it.
    Request,
    /// Its answer: it is done, and the caller does not know.
    Answer,
}

#[derive(Default)]
struct Seen {
    tokens: Vec<String>,
    good: BTreeSet<String>,
    hold: Option<(&'static str, Hold)>,
    held: bool,
}

/// Ends with the runtime of its rehearsal.
pub(super) struct Relay {
    pub(super) endpoint: String,
    seen: Arc<Mutex<Seen>>,
    release: Arc<Notify>,
}

impl Relay {
    /// Forwards to the sandbox, and takes its token for the only good one.
    pub(super) fn start(rehearsal: &Rehearsal) -> Self {
        let listening = TcpListener::bind("127.0.0.1:0");
        let listener = rehearsal.runtime.block_on(listening).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let relay = Self {
            endpoint,
            seen: Arc::default(),
            release: Arc::default(),
        };
        let environment = &rehearsal.environment;
        let spot = environment["SPOT_API_URL"].replace("http://", "");
        let token = environment["SPOTINST_TOKEN"].clone();
        let (seen, release) = (Arc::clone(&relay.seen), Arc::clone(&relay.release));
        rehearsal.runtime.spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (seen, release) = (Arc::clone(&seen), Arc::clone(&release));
                let (spot, token) = (spot.clone(), token.clone());
                tokio::spawn(async move {
                    if let Err(error) = forward(caller, &spot, &token, &seen, &release).await {
                        eprintln!("a call of Spot was not forwarded: {error}");
                    }
                });
            }
        });
        relay
    }

    /// From now on these tokens are good, and no others.
    pub(super) fn accept(&self, tokens: &[&str]) {
        self.seen.lock().unwrap().good = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// The tokens of all calls since the last look, in the order in which they came.
    pub(super) fn tokens(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap().tokens)
    }

    /// Holds the next call with this method and path back, or its answer.
    pub(super) fn hold(&self, call: &'static str, what: Hold) {
        self.seen.lock().unwrap().hold = Some((call, what));
    }

    /// Whether a call is held back.
    pub(super) fn is_held(&self) -> bool {
        self.seen.lock().unwrap().held
    }

    /// Lets it go on.
    pub(super) fn release(&self) {
        self.release.notify_one();
    }
}

/// Forwards one request; a connection has no second one.
async fn forward(
    mut caller: TcpStream,
    spot: &str,
    spot_token: &str,
    seen: &Mutex<Seen>,
    release: &Notify,
) -> io::Result<()> {
    let Some((head, body)) = read(&mut caller).await? else {
        return Ok(());
    };
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let path = first.split(['?', ' ']).nth(1).unwrap_or_default();
    let call = format!("{} {path}", first.split(' ').next().unwrap_or_default());
    let mut sent = format!("{first}\r\nconnection: close\r\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "connection" => {}
            "authorization" => {
                let token = value.trim().trim_start_matches("Bearer ");
                let mut seen = seen.lock().unwrap();
                seen.tokens.push(token.to_owned());
                let token = match (seen.good.contains(token), seen.good.is_empty()) {
                    (true, _) => spot_token,
                    (false, true) => token,
                    (false, false) => "refused",
                };
                sent += &format!("authorization: Bearer {token}\r\n");
            }
            _ => sent += &format!("{line}\r\n"),
        }
    }
    sent += "\r\n";
    let held = {
        let mut seen = seen.lock().unwrap();
        seen.hold.take_if(|(held, _)| *held == call)
    };
    let held = held.map(|(_, what)| what);
    if held == Some(Hold::Request) {
        wait(seen, release).await;
    }
    let mut upstream = TcpStream::connect(spot).await?;
    upstream.write_all(sent.as_bytes()).await?;
    upstream.write_all(&body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if held == Some(Hold::Answer) {
        wait(seen, release).await;
    }
    caller.write_all(&answer).await?;
    caller.shutdown().await
}

async fn wait(seen: &Mutex<Seen>, release: &Notify) {
    seen.lock().unwrap().held = true;
    release.notified().await;
    seen.lock().unwrap().held = false;
}

/// Reads a request: its head, and as much of a body as that says. None when the caller has nothing to say.
async fn read(caller: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.split("\r\n").find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() >= whole {
                return Ok(Some((head, bytes[end + 4..whole].to_vec())));
            }
        }
        if caller.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}
