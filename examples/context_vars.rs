//! A request's id that follows the request: into the tasks it spawns, the closures that block for it and the callbacks that it leaves
//! behind, without being handed to any of them. Its transaction stays where it was begun.
//!
//! In Python:
//!
//! ```python
//! request_id = contextvars.ContextVar("request_id", default=0)
//!
//! async def serve(id):
//!     request_id.set(id)
//!     log("begins")
//!     user = asyncio.create_task(load_user())
//!     page = await asyncio.to_thread(render)
//!     log(f"{await user}, {page}")
//!     asyncio.get_running_loop().call_later(0.02, log, "is cleaned up")
//!
//! def log(what):
//!     print(f"[request {request_id.get()}] {what}")
//! ```
//!
//! ```sh
//! cargo run --example context_vars
//! ```
#![allow(clippy::print_stdout)]

use heist::context::{ContextVar, copy_context};
use heist::{Handle, TaskError, current_task, sleep, spawn, spawn_blocking};
use std::error::Error;
use std::time::Duration;

static REQUEST_ID: ContextVar<u32> = ContextVar::with_default("request_id", || 0);
/// What must not be used by two tasks at a time is not inherited. asyncio has no such thing.
static TRANSACTION: ContextVar<String> = ContextVar::new("transaction").inherit(false);

#[heist::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let requests: Vec<_> = (1..=3).map(|id| spawn(serve(id))).collect();
    for request in requests {
        request.await??;
    }
    // The callbacks' turn.
    sleep(Duration::from_millis(50)).await;
    log("nobody's request");
    assert_eq!(REQUEST_ID.get(), Some(0));
    on_a_thread_of_its_own()
}

/// Each request is a task, and what it sets is set for it alone.
async fn serve(id: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
    REQUEST_ID.set(id);
    TRANSACTION.set(format!("transaction {id}"));
    log("begins");
    let user = spawn(load_user());
    let page = spawn_blocking(render);
    log(&format!("{}, {}", user.await?, page.await?));
    let handle = Handle::current().ok_or("this runs on a runtime")?;
    handle.call_later(Duration::from_millis(20), || {
        assert!(current_task().is_none() && REQUEST_ID.get() > Some(0));
        log("is cleaned up");
    });
    audited().await?;
    assert_eq!(REQUEST_ID.get(), Some(id));
    Ok(())
}

/// A task of its own, which starts with a copy.
async fn load_user() -> String {
    sleep(Duration::from_millis(5)).await;
    log("loads its user");
    assert_eq!(TRANSACTION.get(), None);
    format!("user {}", REQUEST_ID.get().unwrap_or_default() * 100)
}

/// On a thread for code that blocks.
fn render() -> &'static str {
    std::thread::sleep(Duration::from_millis(5));
    log("is rendered");
    "a page"
}

/// A part of a task in a context of its own, and a change that is taken back.
async fn audited() -> Result<(), TaskError> {
    let audit = copy_context().with(&REQUEST_ID, REQUEST_ID.get().unwrap_or_default() + 1000);
    audit
        .enclose(async {
            log("is audited");
            spawn(async { log("is audited further") }).await
        })
        .await?;

    let token = REQUEST_ID.set(0);
    log("a word on the side");
    REQUEST_ID
        .reset(token)
        .expect("it was set in this very context");
    log("ends");
    Ok(())
}

/// A plain thread knows no context, unless it is given one.
fn on_a_thread_of_its_own() -> Result<(), Box<dyn Error + Send + Sync>> {
    REQUEST_ID.set(4);
    let mut context = copy_context();
    let thread = std::thread::spawn(move || {
        assert_eq!(REQUEST_ID.get(), Some(0));
        context.run(|| log("on a thread of its own"));
    });
    thread.join().map_err(|_| "the thread panicked")?;
    Ok(())
}

fn log(what: &str) {
    let id = REQUEST_ID.get().unwrap_or_default();
    println!("[request {id}] {what}");
}
