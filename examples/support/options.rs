//! What the server examples are told on the command line: `[ADDRESS] [--seconds N]`, and when they end.

use std::io;
use std::time::Duration;

pub(crate) struct Options {
    pub(crate) address: String,
    seconds: Option<u64>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// A word that is not understood, with what would be.
    pub(crate) fn parse(default_address: &str) -> io::Result<Self> {
        let mut options = Self {
            address: default_address.to_owned(),
            seconds: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            if word == "--seconds" {
                let seconds = words.next().and_then(|word| word.parse().ok());
                options.seconds = Some(seconds.ok_or_else(usage)?);
            } else if word.starts_with('-') {
                return Err(usage());
            } else {
                options.address = word;
            }
        }
        Ok(options)
    }

    /// Waits for the end that was asked for: the time is up, or Ctrl-C, or what a service manager sends. From then on a second one ends the process at once.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        let limit = self.seconds.map_or(Duration::MAX, Duration::from_secs);
        let asked = heist::timeout(limit, asked_to_end());
        asked.await.unwrap_or(Ok(()))
    }

    /// How to end it, in words.
    pub(crate) fn how_it_ends(&self) -> String {
        match self.seconds {
            Some(seconds) => format!("ends after {seconds} s, or with Ctrl-C"),
            None => "end it with Ctrl-C".to_owned(),
        }
    }
}

#[cfg(unix)]
async fn asked_to_end() -> io::Result<()> {
    use heist::signal::{self, SignalKind};
    let mut signals = signal::any([SignalKind::INTERRUPT, SignalKind::TERMINATE])?;
    signals.recv().await.map(drop)
}

/// There are no signals here: standard input ends it.
#[cfg(not(unix))]
async fn asked_to_end() -> io::Result<()> {
    let end = heist::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    end.await?.map(drop)
}

fn usage() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "usage: [ADDRESS:PORT] [--seconds N]",
    )
}
