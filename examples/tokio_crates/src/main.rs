//! A service as it is written for tokio: axum, sqlx and reqwest, none of which knows of heist.
//!
//! ```text
//! cargo run --manifest-path examples/tokio_crates/Cargo.toml
//! ```
//!
//! What it teaches: with feature `tokio-compat` such crates run inside heist's tasks as they are, without a wrapper, since every thread of heist's holds the handle of a
//! runtime of tokio's. axum's server, reqwest's connections and sqlx's pool run on that runtime's thread in the background; the code in *this* file, handlers apart, runs on
//! heist's workers, with heist's tasks: what is spawned here can be cancelled, and clean up. The lines that a move from tokio changed are the two that begin with
//! `#[heist::` and `heist::`.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use std::error::Error;

#[derive(Debug, Deserialize, PartialEq, Serialize, sqlx::FromRow)]
struct Note {
    id: i64,
    text: String,
}

async fn note(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<Json<Note>, String> {
    let found = sqlx::query_as("SELECT id, text FROM notes WHERE id = ?").bind(id);
    let note = found
        .fetch_one(&pool)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Json(note))
}

async fn add(State(pool): State<SqlitePool>, text: String) -> Result<Json<i64>, String> {
    let added = sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(text);
    let added = added
        .execute(&pool)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Json(added.last_insert_rowid()))
}

#[heist::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // One connection: each to `:memory:` is a database of its own.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await?;
    sqlx::query("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        .execute(&pool)
        .await?;

    let app = Router::new()
        .route("/notes", axum::routing::post(add))
        .route("/notes/{id}", get(note))
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = heist::spawn(async { axum::serve(listener, app).await });

    let client = reqwest::Client::new();
    let clients: Vec<_> = (0..20)
        .map(|n| {
            let (client, notes) = (client.clone(), format!("http://{address}/notes"));
            heist::try_spawn(async move {
                let text = format!("note {n}");
                let id: i64 = client
                    .post(&notes)
                    .body(text.clone())
                    .send()
                    .await?
                    .json()
                    .await?;
                let note: Note = client
                    .get(format!("{notes}/{id}"))
                    .send()
                    .await?
                    .json()
                    .await?;
                assert_eq!(note, Note { id, text });
                Ok::<_, reqwest::Error>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    println!("20 notes were written and read back");

    server.cancel("that was all");
    assert!(server.await.is_err_and(|error| error.is_cancelled()));
    Ok(())
}
