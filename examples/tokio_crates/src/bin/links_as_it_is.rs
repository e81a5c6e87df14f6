//! Short links: an HTTP service over SQLite. `docs/moving-a-service.md` tells how it was moved from tokio, and compares its three versions.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::hash::{Hash, Hasher};
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{interval, timeout};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

type Failure = Box<dyn Error + Send + Sync>;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may wait for the next link.
const WAIT: Duration = Duration::from_secs(20);

/// How often visits are written down.
const FLUSH: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, sqlx::FromRow)]
struct Link {
    code: String,
    url: String,
    visits: i64,
}

#[derive(Clone)]
struct Links {
    pool: SqlitePool,
    added: broadcast::Sender<Link>,
    visits: mpsc::Sender<String>,
    stopping: watch::Receiver<bool>,
}

/// Errors of the database are ours, not the client's.
fn failed(error: sqlx::Error) -> (StatusCode, String) {
    match error {
        sqlx::Error::RowNotFound => (StatusCode::NOT_FOUND, "no such link".to_owned()),
        error => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

type Answer<T> = Result<T, (StatusCode, String)>;

/// Takes its time, so that codes are not cheap to try out.
fn code_of(url: &str) -> String {
    let mut hasher = DefaultHasher::new();
    for _ in 0..10_000 {
        url.hash(&mut hasher);
    }
    format!("{:08x}", hasher.finish() as u32)
}

async fn add(State(links): State<Links>, url: String) -> Answer<(StatusCode, Json<Link>)> {
    let hashed = url.clone();
    let code = tokio::task::spawn_blocking(move || code_of(&hashed))
        .await
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    sqlx::query("INSERT OR IGNORE INTO links (code, url) VALUES (?, ?)")
        .bind(&code)
        .bind(&url)
        .execute(&links.pool)
        .await
        .map_err(failed)?;
    let link = find(&links.pool, &code).await?;
    // Nobody may be waiting.
    let _ = links.added.send(link.clone());
    Ok((StatusCode::CREATED, Json(link)))
}

async fn find(pool: &SqlitePool, code: &str) -> Answer<Link> {
    sqlx::query_as("SELECT code, url, visits FROM links WHERE code = ?")
        .bind(code)
        .fetch_one(pool)
        .await
        .map_err(failed)
}

async fn visit(State(links): State<Links>, Path(code): Path<String>) -> Answer<Redirect> {
    let link = find(&links.pool, &code).await?;
    if links.visits.send(code).await.is_err() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "ending".to_owned()));
    }
    Ok(Redirect::temporary(&link.url))
}

async fn about(State(links): State<Links>, Path(code): Path<String>) -> Answer<Json<Link>> {
    find(&links.pool, &code).await.map(Json)
}

/// Waits for the next link that somebody adds.
async fn next(State(mut links): State<Links>) -> Answer<Json<Link>> {
    let mut added = links.added.subscribe();
    tokio::select! {
        link = timeout(WAIT, added.recv()) => match link {
            Ok(Ok(link)) => Ok(Json(link)),
            Ok(Err(missed)) => Err((StatusCode::CONFLICT, missed.to_string())),
            Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "no new link".to_owned())),
        },
        _ = links.stopping.wait_for(|stopping| *stopping) => {
            Err((StatusCode::SERVICE_UNAVAILABLE, "ending".to_owned()))
        }
    }
}

/// Counts visits, and writes them down every now and then, and at the end.
async fn count(pool: SqlitePool, mut visits: mpsc::Receiver<String>) -> Result<(), sqlx::Error> {
    let mut counted = HashMap::<String, i64>::new();
    let mut flush = interval(FLUSH);
    loop {
        let ended = tokio::select! {
            code = visits.recv() => match code {
                Some(code) => {
                    *counted.entry(code).or_default() += 1;
                    continue;
                }
                None => true,
            },
            _ = flush.tick() => false,
        };
        for (code, visits) in counted.drain() {
            sqlx::query("UPDATE links SET visits = visits + ? WHERE code = ?")
                .bind(visits)
                .bind(code)
                .execute(&pool)
                .await?;
        }
        if ended {
            return Ok(());
        }
    }
}

async fn open(database: &str) -> Result<SqlitePool, sqlx::Error> {
    let options = database.parse::<SqliteConnectOptions>()?;
    let pool = SqlitePool::connect_with(options.create_if_missing(true)).await?;
    let table = "CREATE TABLE IF NOT EXISTS links \
        (code TEXT PRIMARY KEY, url TEXT NOT NULL, visits INTEGER NOT NULL DEFAULT 0)";
    sqlx::query(table).execute(&pool).await?;
    Ok(pool)
}

/// Serves until `stop`; answers what is under way, and writes down what was counted.
async fn serve(
    listener: TcpListener,
    pool: SqlitePool,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let (visits, visited) = mpsc::channel(1024);
    let (stopping_now, stopping) = watch::channel(false);
    let counting = tokio::spawn(count(pool.clone(), visited));
    let links = Links {
        pool: pool.clone(),
        added: broadcast::channel(16).0,
        visits,
        stopping,
    };
    let app = Router::new()
        .route("/links", post(add))
        .route("/links/next", get(next))
        .route("/links/{code}", get(about))
        .route("/{code}", get(visit))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            PATIENCE,
        ))
        .layer(TraceLayer::new_for_http())
        .with_state(links);
    let stop = async move {
        stop.await;
        stopping_now.send_replace(true);
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    counting.await??;
    pool.close().await;
    Ok(())
}

async fn asked_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[heist::main]
async fn main() -> Result<(), Failure> {
    let database = std::env::args().nth(1);
    let pool = open(database.as_deref().unwrap_or("sqlite:links.db")).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let stop = async {
        if let Err(error) = asked_to_end().await {
            eprintln!("no signals here: {error}");
            std::future::pending().await
        }
    };
    serve(listener, pool, stop).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::redirect::Policy;
    use tokio::sync::oneshot;

    #[heist::test]
    async fn links_are_added_awaited_visited_and_counted() -> Result<(), Failure> {
        let file = std::env::temp_dir().join(format!("links-{}.db", std::process::id()));
        let database = format!("sqlite:{}", file.display());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let server = tokio::spawn(serve(listener, open(&database).await?, stopped));

        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()?;
        let next = client.get(format!("{base}/links/next"));
        let awaited = tokio::spawn(async { next.send().await?.json::<Link>().await });
        let mut again = interval(Duration::from_millis(10));
        // Whoever waits hears of links that are added after he came.
        while !awaited.is_finished() {
            again.tick().await;
            let add = client
                .post(format!("{base}/links"))
                .body("https://example.org/");
            assert_eq!(add.send().await?.status(), StatusCode::CREATED);
        }
        let link = awaited.await??;
        assert_eq!((&*link.url, link.visits), ("https://example.org/", 0));

        let visit = client.get(format!("{base}/{}", link.code)).send();
        let response = timeout(Duration::from_secs(5), visit).await??;
        assert_eq!(response.headers()["location"], "https://example.org/");

        stop.send(()).map_err(|()| "the server has ended")?;
        server.await??;
        let found = find(&open(&database).await?, &link.code).await;
        assert_eq!(found, Ok(Link { visits: 1, ..link }));
        std::fs::remove_file(file)?;
        Ok(())
    }
}
