//! With the feature `stacks`: requests, traced polls, and the frames made of what leaves noted.

use super::super::awaitable::Watched;
use super::super::cell::{Header, Watcher};
use super::super::raw::contain;
use super::{Answer, Asked, Frame, Kind, Stack, StackError};
use crate::current;
use crate::task::TaskRef;
use heist_io_driver::leaf;
use parking_lot::{Condvar, Mutex};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// How many suspended leaves of one task are noted: more than a `join!` has. Beyond, they are counted.
const LEAVES: usize = 64;

/// How many frames of one stack are kept: deeper than any chain that is not a recursion.
const DEPTH: usize = 512;

/// The requests for a task's stack. Behind the rare box, with a lock of its own.
#[derive(Debug, Default)]
pub(in crate::task) struct Wanted {
    /// Whether there are any. Relaxed: whoever sets it wakes the task after, and the state word orders that with the poll to come.
    any: AtomicBool,
    requests: Mutex<Vec<Arc<Request>>>,
}

impl Wanted {
    fn add(&self, request: Arc<Request>) {
        self.requests.lock().push(request);
        self.any.store(true, Relaxed);
    }

    fn take(&self) -> Vec<Arc<Request>> {
        let mut requests = self.requests.lock();
        self.any.store(false, Relaxed);
        std::mem::take(&mut *requests)
    }

    fn remove(&self, request: &Arc<Request>) {
        let mut requests = self.requests.lock();
        requests.retain(|other| !Arc::ptr_eq(other, request));
        self.any.store(!requests.is_empty(), Relaxed);
    }
}

/// One that is asked for.
#[derive(Default)]
struct Request {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Request {
    /// The first answer counts.
    fn answer(&self, answer: Answer) {
        let mut state = self.state.lock();
        if state.answer.is_some() {
            return;
        }
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        self.answered.notify_all();
        if let Some(waker) = waker {
            contain(|| waker.wake());
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request")
    }
}

pub(super) fn ask(task: &TaskRef) -> Asked {
    let request = Arc::new(Request::default());
    let header = task.header();
    header.rare_or_new().wanted.add(request.clone());
    let at_end = request.clone();
    let watch = task.watch(Watcher::Call(Box::new(move || {
        at_end.answer(Err(StackError(Kind::Done)));
    })));
    let watch = watch.map_err(Watcher::tell).ok();
    task.wake();
    Asked::Continue(Waiting {
        task: task.clone(),
        request,
        watch,
    })
}

/// Somebody who waits for an answer.
pub(super) struct Waiting {
    task: TaskRef,
    request: Arc<Request>,
    /// Who is told of the task's end.
    watch: Option<usize>,
}

impl Waiting {
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Answer> {
        let waker = cx.waker().clone();
        let mut state = self.request.state.lock();
        if let Some(answer) = &state.answer {
            return Poll::Ready(answer.clone());
        }
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }

    pub(super) fn wait_until(&self, until: Option<Instant>) -> Option<Answer> {
        let mut state = self.request.state.lock();
        while state.answer.is_none() {
            match until {
                None => self.request.answered.wait(&mut state),
                Some(until) => {
                    let waited = self.request.answered.wait_until(&mut state, until);
                    if waited.timed_out() {
                        break;
                    }
                }
            }
        }
        state.answer.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(rare) = self.task.header().rare() {
            rare.wanted.remove(&self.request);
        }
        if let Some(key) = self.watch.take() {
            drop(self.task.unwatch(key));
        }
    }
}

thread_local! {
    /// What the leaves of the traced poll under way have noted.
    static NOTED: RefCell<Noted> = const {
        RefCell::new(Noted {
            stacks: Vec::new(),
            left_out: 0,
        })
    };
}

#[derive(Default)]
struct Noted {
    stacks: Vec<Vec<usize>>,
    left_out: usize,
}

/// What a leaf does in a traced poll.
#[inline(never)]
fn note() {
    let is_full = NOTED.try_with(|noted| {
        let mut noted = noted.borrow_mut();
        let is_full = noted.stacks.len() >= LEAVES;
        noted.left_out += usize::from(is_full);
        is_full
    });
    if is_full == Ok(false) {
        let stack = stack_here();
        // Not in its last destructors: it was there a moment ago.
        let _ = NOTED.try_with(|noted| noted.borrow_mut().stacks.push(stack));
    }
}

/// The return addresses of this thread's stack, the innermost first.
#[inline(never)]
fn stack_here() -> Vec<usize> {
    let mut stack = Vec::with_capacity(64);
    backtrace::trace(|frame| {
        stack.push(frame.ip().addr());
        stack.len() < DEPTH
    });
    stack
}

/// The bracket round a task's poll: traced if somebody wants to know where it is suspended.
pub(in crate::task) struct Tracing(Option<Trace>);

struct Trace {
    requests: Vec<Arc<Request>>,
    /// What a traced poll has noted so far in which this one began: foreign code may block in a poll and run others.
    outer: Noted,
}

impl Tracing {
    #[inline]
    pub(in crate::task) fn begin(task: &Header, interrupted: bool) -> Self {
        // Relaxed: see the field.
        let wanted = task.rare().map(|rare| &rare.wanted);
        match wanted.filter(|wanted| wanted.any.load(Relaxed)) {
            Some(wanted) => Self::begin_trace(wanted, interrupted),
            None => Self::begin_plainly(interrupted),
        }
    }

    #[inline]
    fn begin_plainly(interrupted: bool) -> Self {
        leaf::begin_poll(current::budget(), interrupted);
        Self(None)
    }

    #[cold]
    fn begin_trace(wanted: &Wanted, interrupted: bool) -> Self {
        let requests = wanted.take();
        if requests.is_empty() {
            return Self::begin_plainly(interrupted);
        }
        let outer = NOTED.try_with(RefCell::take).unwrap_or_default();
        leaf::begin_traced_poll(note);
        Self(Some(Trace { requests, outer }))
    }

    /// Says whether the poll yielded for want of budget; a traced one counts as such. `pending`: it came back so.
    #[inline]
    pub(in crate::task) fn end(self, pending: bool, task: impl FnOnce() -> TaskRef) -> bool {
        let forced = leaf::end_poll().forced_yield;
        match self.0 {
            None => forced,
            Some(trace) => {
                trace.end(pending, task());
                true
            }
        }
    }
}

impl Trace {
    #[cold]
    fn end(self, pending: bool, task: TaskRef) {
        let Self { requests, outer } = self;
        let noted = NOTED
            .try_with(|noted| noted.replace(outer))
            .unwrap_or_default();
        if !pending {
            // The end, which comes now, is the answer.
            return;
        }
        // First of all: whatever the poll was due for, a real one follows.
        task.wake();
        let stack = Stack::new(&task, task.waits_for_as_runner(), Chains::of(noted));
        for request in requests {
            request.answer(Ok(stack.clone()));
        }
    }
}

/// What the leaves of a task noted.
pub(super) struct Chains {
    noted: Noted,
    frames: OnceLock<Vec<Frame>>,
}

impl Chains {
    pub(super) fn none() -> Self {
        Self::of(Noted::default())
    }

    fn of(noted: Noted) -> Self {
        Self {
            noted,
            frames: OnceLock::new(),
        }
    }

    /// That of the thread that asks, which runs the task.
    #[inline(never)]
    pub(super) fn of_here() -> Self {
        Self::of(Noted {
            stacks: vec![stack_here()],
            left_out: 0,
        })
    }

    pub(super) fn frames(&self) -> &[Frame] {
        self.frames.get_or_init(|| {
            let mut frames: Vec<Frame> = Vec::new();
            // The chain that was added last: the next one branches off from it.
            let mut before: Vec<Frame> = Vec::new();
            for stack in &self.noted.stacks {
                let chain = chain_of(stack);
                let common = chain.iter().zip(&before);
                let common = common.take_while(|(one, other)| one == other).count();
                // Two leaves in the same place are two.
                let common = common.min(chain.len().saturating_sub(1));
                frames.extend_from_slice(&chain[common..]);
                before = chain;
            }
            frames
        })
    }

    pub(super) fn left_out(&self) -> usize {
        self.noted.left_out
    }
}

/// The frames between the task's run and the leaf, the outermost first.
fn chain_of(stack: &[usize]) -> Vec<Frame> {
    let mut chain = Vec::new();
    let mut is_root = false;
    for address in stack {
        let address = std::ptr::without_provenance_mut(*address);
        backtrace::resolve(address, |symbol| {
            let Some(name) = symbol.name() else { return };
            let name = format!("{name:#}");
            let file = symbol.filename();
            is_root |= is_run(&name, file);
            if is_root || is_plumbing(&name, file) {
                return;
            }
            chain.push(Frame {
                name: function(&name).to_owned(),
                file: file.map(|file| file.display().to_string()),
                line: symbol.lineno(),
                depth: 0,
            });
        });
        if is_root {
            break;
        }
    }
    chain.reverse();
    for (depth, frame) in chain.iter_mut().enumerate() {
        frame.depth = depth;
    }
    chain
}

/// A file of this crate's `src/task`.
fn ours(file: &str) -> PathBuf {
    let dir = Path::new(file!()).ancestors().nth(2);
    dir.unwrap_or(Path::new("")).join(file)
}

/// Whether a frame is that of a task's run. Where only lines are known, inlined functions have no path: then the file tells.
fn is_run(name: &str, file: Option<&Path>) -> bool {
    name.starts_with("heist_runtime::task::raw::run")
        || file.is_some_and(|file| file.ends_with(ours("raw.rs")))
}

/// Whether a frame says nothing of where the task is: the tracing itself, and what lies between two futures.
fn is_plumbing(name: &str, file: Option<&Path>) -> bool {
    const CRATES: [&str; 4] = ["core", "std", "alloc", "backtrace"];
    const MODULES: [&str; 5] = [
        "heist_io_driver::leaf",
        "heist_runtime::task::stack",
        "heist_runtime::task::awaitable",
        "heist_runtime::task::region",
        "heist_runtime::current",
    ];
    const FILES: [&str; 5] = [
        "stack.rs",
        "stack/traced.rs",
        "stack/untraced.rs",
        "awaitable.rs",
        "region.rs",
    ];
    let path = name.trim_start_matches('<');
    // What is implemented for every `F`, and a future by reference, which has a frame of its own.
    let implemented = name
        .strip_prefix('<')
        .and_then(|name| name.split(" as ").next());
    if implemented.is_some_and(|of| of.starts_with('&') || !of.contains("::")) {
        return true;
    }
    let begins = |with: &str| {
        let rest = path.strip_prefix(with);
        rest.is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    };
    let in_file = |file: &Path| {
        let shown = file.to_string_lossy().replace('\\', "/");
        [
            "/library/core/",
            "/library/std/",
            "/library/alloc/",
            "/backtrace-0",
        ]
        .into_iter()
        .any(|dir| shown.contains(dir))
            || shown.contains("io-driver") && shown.ends_with("/src/leaf.rs")
            || FILES.into_iter().any(|own| file.ends_with(ours(own)))
    };
    path.starts_with("__rust")
        || CRATES.into_iter().any(begins)
        || MODULES.into_iter().any(begins)
        || file.is_some_and(in_file)
}

/// The function that a closure, which is what an async function or block is made of, stands in; of one that was inlined, and of which only lines are
/// known, what it is.
fn function(name: &str) -> &str {
    const BARE: [(&str, &str); 4] = [
        ("{async_fn#", "async fn"),
        ("{async_block#", "async block"),
        ("{async_closure#", "async closure"),
        ("{closure#", "closure"),
    ];
    let bare = name.split('<').next().unwrap_or(name);
    if !name.starts_with('<') && !bare.contains("::") {
        let known = BARE.into_iter().find(|(begin, _)| bare.starts_with(begin));
        return known.map_or(bare, |(_, what)| what);
    }
    let mut name = name;
    while let Some((outer, last)) = name.rsplit_once("::") {
        let is_closure =
            last == "{{closure}}" || last.starts_with("{closure#") && last.ends_with('}');
        if !is_closure {
            break;
        }
        name = outer;
    }
    name
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn closures_are_named_by_the_function_that_they_stand_in() {
        for (name, shown) in [
            ("app::fetch::{{closure}}", "app::fetch"),
            ("app::fetch::{{closure}}::{{closure}}", "app::fetch"),
            ("app::fetch::<u8>::{closure#0}", "app::fetch::<u8>"),
            ("{async_fn#0}<app::Body>", "async fn"),
            ("{async_block#1}", "async block"),
            ("poll<app::fetch::{async_fn_env#0}>", "poll"),
            ("<app::A<B> as C>::poll", "<app::A<B> as C>::poll"),
        ] {
            assert_eq!(function(name), shown);
        }
    }

    #[test]
    fn what_lies_between_two_futures_is_left_out() {
        for name in [
            "core::ops::function::FnOnce::call_once",
            "<core::pin::Pin<P> as core::future::future::Future>::poll",
            "<&mut F as core::future::future::Future>::poll",
            "<F as core::future::into_future::IntoFuture>::into_future",
            "heist_io_driver::leaf::Leaf::poll_enter",
            "<heist_runtime::task::region::Region<F> as core::future::future::Future>::poll",
            "__rust_try",
        ] {
            assert!(is_plumbing(name, None), "{name}");
        }
        for name in [
            "core_services::fetch",
            "<app::Retry<F> as core::future::future::Future>::poll",
            "<heist_io_driver::timer::sleep::Sleep as core::future::future::Future>::poll",
            "poll",
        ] {
            assert!(!is_plumbing(name, None), "{name}");
        }
        let library = Path::new("/rustc/0/library/core/src/future/poll_fn.rs");
        assert!(is_plumbing("poll", Some(library)));
        let here = Path::new("/x").join(file!());
        assert!(is_plumbing("note", Some(&here)));
        let run = Path::new("/x").join(ours("raw.rs"));
        assert!(is_run("{closure#0}", Some(&run)) && !is_run("poll", Some(&here)));
    }
}
