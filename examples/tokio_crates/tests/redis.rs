//! A client of redis, with its own connection task on tokio, used from tasks of heist's. Needs `redis-server`; says so where there is none.

use redis::AsyncCommands;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A server of the test's own on a port that was free a moment ago; ends with the test.
struct Server(Child, u16);

impl Server {
    fn start() -> Option<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let started = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
            ])
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: redis-server: {error}");
                return None;
            }
        };
        let said = BufReader::new(child.stdout.take().unwrap());
        let ready = said
            .lines()
            .any(|line| line.unwrap().contains("eady to accept connections"));
        assert!(ready, "redis-server ended");
        Some(Self(child, port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[heist::test(worker_threads = 4, timeout_ms = 60_000)]
async fn a_hundred_tasks_share_a_connection() {
    let Some(server) = Server::start() else {
        return;
    };
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", server.1)).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = connection.clone();
            heist::try_spawn(async move {
                for _ in 0..10 {
                    let _: i64 = connection.incr("hits", 1).await?;
                }
                Ok::<_, redis::RedisError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let hits: i64 = connection.clone().get("hits").await.unwrap();
    assert_eq!(hits, 1000);
}
