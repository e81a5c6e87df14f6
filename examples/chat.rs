//! A chat: asyncio's streams, a queue for each member, and who leaves is missed by nobody.
//!
//! ```sh
//! cargo run --release --example chat                        # three members talk, and it ends
//! cargo run --release --example chat -- 127.0.0.1:8081      # serves until Ctrl-C; join with: nc 127.0.0.1 8081
//! ```
//!
//! What it teaches: `start_server` runs a task for each connection. Each has a second one that writes what the others say, in a `TaskGroup`, so that neither outlives the other:
//! when the member hangs up, the reading body ends, and the group ends the writer. A member who does not read fills a queue of his own, and is left out; he holds nobody up.
#![allow(clippy::print_stdout)]

use heist::TaskGroup;
use heist::streams::{Server, StreamReader, StreamWriter, open_connection, start_server};
use heist::sync::Queue;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// How many lines wait for a member before he misses some.
const PATIENCE: usize = 100;

#[derive(Clone, Default)]
struct Room(Arc<Mutex<BTreeMap<String, Arc<Queue<String>>>>>);

impl Room {
    fn members(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Queue<String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody but `from`.
    fn say(&self, from: &str, what: &str) {
        for (name, lines) in self.members().iter() {
            if name != from && lines.put_nowait(format!("{from}: {what}\n")).is_err() {
                println!("({name} does not read, and misses a line)");
            }
        }
    }

    async fn welcome(self, mut reader: StreamReader, mut writer: StreamWriter) -> io::Result<()> {
        writer.write(b"your name?\n")?;
        let Some(name) = line(&mut reader).await? else {
            return Ok(());
        };
        let lines = Arc::new(Queue::new(PATIENCE));
        if self.members().contains_key(&name) {
            return writer.write(b"there is one already\n");
        }
        self.members().insert(name.clone(), lines.clone());
        self.say(&name, "(is here)");
        let talk = TaskGroup::run(|group| {
            let (room, name) = (&self, &name);
            async move {
                let writing = async move {
                    while let Ok(line) = lines.get().await {
                        writer.write(line.as_bytes())?;
                        writer.drain().await?;
                    }
                    Ok(())
                };
                let writing = group.try_spawn::<_, (), io::Error>(writing);
                writing.map_err(io::Error::other)?;
                while let Some(line) = line(&mut reader).await? {
                    room.say(name, &line);
                }
                group.cancel();
                io::Result::Ok(())
            }
        });
        let talked = talk.await;
        // Whichever way it ended.
        self.members().remove(&name);
        self.say(&name, "(has left)");
        talked.map_err(io::Error::other)?
    }
}

async fn line(reader: &mut StreamReader) -> io::Result<Option<String>> {
    let line = reader.readline().await?;
    let text = String::from_utf8_lossy(&line).trim().to_owned();
    Ok((!line.is_empty()).then_some(text))
}

async fn serve(address: &str) -> io::Result<Server> {
    let room = Room::default();
    start_server(
        move |reader, writer| room.clone().welcome(reader, writer),
        address,
    )
    .await
}

/// A member of the demonstration: says something to who is there, and hears one line from each of the others.
async fn member(
    server: Arc<Server>,
    name: &'static str,
) -> io::Result<(StreamReader, StreamWriter)> {
    let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
    line(&mut reader).await?;
    writer.write_lines([name, "\n"])?;
    Ok((reader, writer))
}

async fn hear(who: &str, reader: &mut StreamReader) -> io::Result<()> {
    let heard = line(reader).await?;
    println!(
        "{who} hears  {}",
        heard.as_deref().unwrap_or("nothing any more")
    );
    Ok(())
}

async fn demonstration() -> io::Result<()> {
    let server = Arc::new(serve("127.0.0.1:0").await?);
    let (mut ann, mut ann_says) = member(server.clone(), "ann").await?;
    ann_says.write(b"is anybody here?\n")?;
    let (mut bob, mut bob_says) = member(server.clone(), "bob").await?;
    hear("ann", &mut ann).await?;
    bob_says.write(b"hello, ann\n")?;
    hear("ann", &mut ann).await?;
    ann_says.write(b"hello, bob\n")?;
    hear("bob", &mut bob).await?;
    drop((bob, bob_says));
    hear("ann", &mut ann).await?;
    drop((ann, ann_says));
    server.close();
    server.wait_closed().await;
    println!("everybody has left");
    Ok(())
}

#[heist::main]
async fn main() -> io::Result<()> {
    let Some(address) = std::env::args().nth(1) else {
        return demonstration().await;
    };
    let server = serve(&address).await?;
    println!(
        "listening on {:?}; end it with Ctrl-C",
        server.local_addrs()
    );
    #[cfg(unix)]
    heist::signal::ctrl_c().await?;
    #[cfg(not(unix))]
    server.serve_forever().await;
    server.close();
    // Those who are here are asked to go, and their tasks waited for.
    server.cancel_connections();
    server.wait_closed().await;
    Ok(())
}
