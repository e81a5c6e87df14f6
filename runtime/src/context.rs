//! Context variables: values that belong to a task and follow it into what it spawns. asyncio's `contextvars`.
//!
//! ```text
//!   ContextVar   a key, made once, as a `static`; says whether copies of a context have it
//!   Context      what is set: a value of its own. Cloning it shares the map, changing it copies the map first
//! ```
//!
//! Every piece of code runs in one context, and `set` changes that one:
//!
//! | code | its context |
//! |---|---|
//! | a task, a blocking closure, a callback | its own: a copy, made when it was spawned, of the spawning code's |
//! | the future of a `block_on` | its own: a copy of that of the code which calls `block_on` |
//! | the coroutine of a [`run_coroutine_threadsafe`](crate::run_coroutine_threadsafe) | its own, empty at first |
//! | the closure of a [`Context::run`], the future of a [`Context::enclose`] | that one |
//! | any other code | its thread's, empty at first |
//!
//! A variable made with [`inherit(false)`](ContextVar::inherit) is in no copy: a request's id follows it everywhere, an open transaction
//! stays where it was begun. A task's values are dropped when it ends; a value that several contexts have, with the last of them.
//!
//! A task without variables has no map and no place for one: spawning from it costs a look, being polled nothing.
//!
//! # Examples
//!
//! ```
//! use heist_runtime::context::ContextVar;
//!
//! static REQUEST: ContextVar<u32> = ContextVar::new("request");
//!
//! # heist_runtime::run(async {
//! REQUEST.set(7);
//! let task = heist_runtime::spawn(async {
//!     let before = REQUEST.get();
//!     REQUEST.set(8);
//!     (before, REQUEST.get())
//! });
//! assert_eq!(task.await.unwrap(), (Some(7), Some(8)));
//! assert_eq!(REQUEST.get(), Some(7));
//! # }).unwrap();
//! ```

use crate::current::{self, Frame};
use crate::task::Header;
use pin_project_lite::pin_project;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{self, Poll};

/// A variable's value in a context. Shared by all copies of the context.
type Value = Arc<dyn Any + Send + Sync>;

/// A variable with a value of its own in each context. asyncio's `contextvars.ContextVar`.
///
/// Made once, as a `static`, which is its identity; two variables may have the same name. A `const` would be another variable
/// wherever it is used, and does not compile. Getting is a short search: contexts are made for tens of variables, not for thousands.
///
/// # Examples
///
/// ```
/// use heist_runtime::context::ContextVar;
///
/// static LANGUAGE: ContextVar<String> = ContextVar::with_default("language", || "en".into());
///
/// assert_eq!(LANGUAGE.get().as_deref(), Some("en"));
/// let token = LANGUAGE.set("cs".into());
/// assert_eq!(LANGUAGE.with(|language| language.len()), Some(2));
/// assert_eq!(LANGUAGE.get().as_deref(), Some("cs"));
/// LANGUAGE.reset(token).unwrap();
/// assert_eq!(LANGUAGE.get().as_deref(), Some("en"));
/// ```
///
/// ```compile_fail,E0716
/// use heist_runtime::context::ContextVar;
///
/// const LANGUAGE: ContextVar<String> = ContextVar::new("language");
/// LANGUAGE.set("cs".into());
/// ```
#[doc(alias = "contextvars.ContextVar")]
pub struct ContextVar<T> {
    var: Var,
    default: Option<fn() -> T>,
}

/// What a context knows of a variable. Its address is the variable's identity.
struct Var {
    name: &'static str,
    inherit: bool,
    /// Never touched. A value that could change is not promoted to a `static` behind the program's back, so a `const` variable, whose
    /// identity would differ from use to use, does not live long enough for anything.
    _no_const: AtomicBool,
}

impl<T> ContextVar<T> {
    const fn make(name: &'static str, default: Option<fn() -> T>) -> Self {
        Self {
            var: Var {
                name,
                inherit: true,
                _no_const: AtomicBool::new(false),
            },
            default,
        }
    }

    /// A variable that is not set anywhere.
    ///
    /// # Examples
    ///
    /// ```
    /// # use heist_runtime::context::ContextVar;
    /// static USER: ContextVar<String> = ContextVar::new("user");
    /// assert_eq!(USER.get(), None);
    /// ```
    pub const fn new(name: &'static str) -> Self {
        Self::make(name, None)
    }

    /// A variable that has the value of `default()` where it is not set. It is called anew at each [`get`](Self::get) and
    /// [`with`](Self::with). asyncio's `ContextVar(name, default=)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use heist_runtime::context::ContextVar;
    /// static RETRIES: ContextVar<u32> = ContextVar::with_default("retries", || 3);
    /// assert_eq!(RETRIES.get(), Some(3));
    /// ```
    pub const fn with_default(name: &'static str, default: fn() -> T) -> Self {
        Self::make(name, Some(default))
    }

    /// Whether copies of a context have the variable: those that tasks, blocking closures and callbacks start with, and that of
    /// [`copy_context`]. They have, unless told otherwise. For values that must not cross into another task: a transaction, a lock's guard.
    /// asyncio has no such thing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use heist_runtime::context::ContextVar;
    /// static TRANSACTION: ContextVar<u32> = ContextVar::new("transaction").inherit(false);
    ///
    /// # heist_runtime::run(async {
    /// TRANSACTION.set(1);
    /// let task = heist_runtime::spawn(async { TRANSACTION.get() });
    /// assert_eq!(task.await.unwrap(), None);
    /// assert_eq!(TRANSACTION.get(), Some(1));
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub const fn inherit(mut self, inherit: bool) -> Self {
        self.var.inherit = inherit;
        self
    }

    /// The variable's name, for people. asyncio's `ContextVar.name`.
    pub const fn name(&self) -> &'static str {
        self.var.name
    }
}

impl<T: Send + Sync + 'static> ContextVar<T> {
    /// A clone of the value in this code's context, else of the default; `None` if there is neither. asyncio's `ContextVar.get`.
    ///
    /// Works anywhere, outside of any runtime too.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// Calls `f` with the value in this code's context, else with the default; `None`, and `f` is not called, if there is neither.
    ///
    /// `f` may do what it likes, set the variable included: it sees the value that was there when it was called.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let value = look(|context| context.value(&self.var)).flatten();
        match value.as_deref().and_then(|value| value.downcast_ref()) {
            Some(value) => Some(f(value)),
            None => self.default.map(|default| f(&default())),
        }
    }

    /// Sets the variable in this code's context, and gives what it takes to go back. asyncio's `ContextVar.set`.
    ///
    /// The value that was there before goes with the token, and is dropped with it.
    ///
    /// In the last destructors of a thread, or of a task whose outcome is dropped, there is no context any more: nothing is set, and the
    /// token says so when it is used.
    pub fn set(&'static self, value: T) -> Token<T> {
        let value: Value = Arc::new(value);
        let set = change(|context| (context.id(), context.put(&self.var, value)));
        let (context, old) = set.unwrap_or_default();
        Token {
            var: self,
            context,
            old,
        }
    }

    /// Goes back to what was there before the [`set`](Self::set) that gave the token, in the context in which it was. asyncio's
    /// `ContextVar.reset`.
    ///
    /// # Errors
    ///
    /// The token is another variable's, or the code runs in another context than at that time (asyncio's `ValueError`s): nothing changes, and
    /// the error has the token. That a token is used twice (its `RuntimeError`) does not compile.
    ///
    /// # Examples
    ///
    /// ```
    /// # use heist_runtime::context::ContextVar;
    /// static LEVEL: ContextVar<u32> = ContextVar::new("level");
    ///
    /// # heist_runtime::run(async {
    /// let token = LEVEL.set(1);
    /// let task = heist_runtime::spawn(async move { LEVEL.reset(token) });
    /// let error = task.await.unwrap().unwrap_err();
    /// assert!(error.is_other_context());
    /// LEVEL.reset(error.into_token()).unwrap();
    /// assert_eq!(LEVEL.get(), None);
    /// # }).unwrap();
    /// ```
    pub fn reset(&'static self, mut token: Token<T>) -> Result<(), ResetError<T>> {
        let here = look(|context| context.id);
        let kind = if !std::ptr::eq(token.var, self) {
            Some(Misplaced::OtherVariable)
        } else if token.context == NOWHERE || here != Some(token.context) {
            Some(Misplaced::OtherContext)
        } else {
            None
        };
        if let Some(kind) = kind {
            return Err(ResetError { kind, token });
        }
        let old = token.old.take();
        let replaced = change(|context| match old {
            Some(value) => context.put(&self.var, value),
            None => context.remove(&self.var),
        });
        drop(replaced);
        Ok(())
    }
}

impl<T> fmt::Debug for ContextVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextVar")
            .field("name", &self.var.name)
            .field("inherit", &self.var.inherit)
            .finish_non_exhaustive()
    }
}

/// What it takes to undo a [`ContextVar::set`], once. asyncio's `contextvars.Token`.
///
/// Dropping it leaves the variable as it is.
///
/// ```compile_fail,E0382
/// # use heist_runtime::context::ContextVar;
/// static LEVEL: ContextVar<u32> = ContextVar::new("level");
/// let token = LEVEL.set(1);
/// LEVEL.reset(token).unwrap();
/// LEVEL.reset(token).unwrap();
/// ```
#[doc(alias = "contextvars.Token")]
pub struct Token<T: 'static> {
    var: &'static ContextVar<T>,
    /// The context's number; `NOWHERE` if nothing was set.
    context: u64,
    old: Option<Value>,
}

impl<T: 'static> Token<T> {
    /// The variable that was set. asyncio's `Token.var`.
    pub fn var(&self) -> &'static ContextVar<T> {
        self.var
    }

    /// The value before; `None` if there was none. asyncio's `Token.old_value`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use heist_runtime::context::ContextVar;
    /// static LEVEL: ContextVar<u32> = ContextVar::new("level");
    /// assert_eq!(LEVEL.set(1).old_value(), None);
    /// assert_eq!(LEVEL.set(2).old_value(), Some(&1));
    /// ```
    pub fn old_value(&self) -> Option<&T> {
        self.old.as_deref()?.downcast_ref()
    }
}

impl<T> fmt::Debug for Token<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("var", &self.var.name())
            .field("was_set", &self.old.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a token was of no use. It is still there: [`into_token`](Self::into_token).
pub struct ResetError<T: 'static> {
    kind: Misplaced,
    token: Token<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misplaced {
    OtherVariable,
    OtherContext,
}

impl<T> ResetError<T> {
    /// Whether another variable was set when the token was made.
    pub fn is_other_variable(&self) -> bool {
        self.kind == Misplaced::OtherVariable
    }

    /// Whether it was made in another context: in another task, before or inside a [`Context::run`], in a clone.
    pub fn is_other_context(&self) -> bool {
        self.kind == Misplaced::OtherContext
    }

    /// The token, to be used where it belongs.
    pub fn into_token(self) -> Token<T> {
        self.token
    }
}

impl<T> fmt::Display for ResetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.token.var.name();
        match self.kind {
            Misplaced::OtherVariable => write!(f, "the token is of another variable, {name:?}"),
            Misplaced::OtherContext => write!(
                f,
                "the token of {name:?} was made in another context: reset it where it was set"
            ),
        }
    }
}

impl<T> fmt::Debug for ResetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResetError")
            .field("kind", &self.kind)
            .field("token", &self.token)
            .finish()
    }
}

impl<T> std::error::Error for ResetError<T> {}

/// The number of a context in which nothing was set yet, so that no token knows it.
const NOWHERE: u64 = 0;

/// A set of variables with their values. asyncio's `contextvars.Context`.
///
/// It is a value like a map: a clone (asyncio's `Context.copy`) is made at the cost of a reference, and what is changed in one of the two is
/// not changed in the other. So [`run`](Self::run) borrows it for as long as code runs in it, and to enter it twice at a time, which in
/// asyncio is a `RuntimeError`, does not compile. It can be sent to any thread.
///
/// # Examples
///
/// ```
/// use heist_runtime::context::{Context, ContextVar};
///
/// static USER: ContextVar<&str> = ContextVar::new("user");
///
/// let mut context = Context::new().with(&USER, "ada");
/// let before = context.run(|| {
///     let before = USER.get();
///     USER.set("grace");
///     before
/// });
/// assert_eq!(before, Some("ada"));
/// assert_eq!(context.get(&USER), Some("grace"));
/// assert_eq!(USER.get(), None);
/// ```
#[derive(Default)]
#[doc(alias = "contextvars.Context")]
pub struct Context {
    /// Tells tokens where they were made. Invariant: [`NOWHERE`], or no other context's.
    id: u64,
    /// Invariant: `None`, or not empty.
    map: Option<Arc<Map>>,
}

/// A list: contexts are small.
#[derive(Clone, Default)]
struct Map {
    entries: Vec<Entry>,
    /// How many of them are not inherited.
    private: usize,
}

#[derive(Clone)]
struct Entry {
    var: &'static Var,
    value: Value,
}

impl Entry {
    fn is_of(&self, var: &Var) -> bool {
        std::ptr::eq(self.var, var)
    }
}

impl Context {
    /// A context with no variable set.
    pub const fn new() -> Self {
        Self {
            id: NOWHERE,
            map: None,
        }
    }

    /// This context with one more variable set, or set anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::context::{ContextVar, copy_context};
    ///
    /// static USER: ContextVar<&str> = ContextVar::new("user");
    /// static TENANT: ContextVar<u32> = ContextVar::new("tenant");
    ///
    /// let mut context = copy_context().with(&USER, "ada").with(&TENANT, 7);
    /// assert_eq!(context.run(|| (USER.get(), TENANT.get())), (Some("ada"), Some(7)));
    /// ```
    #[must_use = "the context is given back with the value in it"]
    pub fn with<T: Send + Sync + 'static>(mut self, var: &'static ContextVar<T>, value: T) -> Self {
        drop(self.put(&var.var, Arc::new(value)));
        self
    }

    /// A clone of a variable's value here; `None` if it is not set, whatever its default is. asyncio's `Context.get`.
    pub fn get<T: Clone + Send + Sync + 'static>(&self, var: &'static ContextVar<T>) -> Option<T> {
        self.value(&var.var)?.downcast_ref().cloned()
    }

    /// How many variables are set. asyncio's `len(context)`.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.map.is_none()
    }

    /// The names of the variables that are set, in the order in which they were first set. asyncio's `Context.keys`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use heist_runtime::context::{Context, ContextVar};
    /// static USER: ContextVar<&str> = ContextVar::new("user");
    /// let context = Context::new().with(&USER, "ada");
    /// assert_eq!(context.names().collect::<Vec<_>>(), ["user"]);
    /// assert_eq!(format!("{context:?}"), r#"Context ["user"]"#);
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries().iter().map(|entry| entry.var.name)
    }

    /// Calls `f` in this context, and gives its value. What it sets is set here. asyncio's `Context.run`.
    ///
    /// That goes for the code that `f` calls on this thread, and for copies that are made there: what it spawns starts with them, a
    /// `block_on` inside works on one. An await does not happen in a closure; for futures there is [`enclose`](Self::enclose).
    ///
    /// # Panics
    ///
    /// A panic of `f` goes on here; what it has set is set.
    pub fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let _inside = Inside::enter(self);
        f()
    }

    /// A future that is polled, and dropped, in this context, in whichever task. What it sets stays in there, from poll to poll.
    ///
    /// asyncio runs a task in a context, never a part of one.
    ///
    /// # Cancel safety
    ///
    /// That of the future.
    ///
    /// # Examples
    ///
    /// ```
    /// use heist_runtime::context::{ContextVar, copy_context};
    ///
    /// static USER: ContextVar<&str> = ContextVar::new("user");
    ///
    /// # heist_runtime::run(async {
    /// let inside = copy_context().with(&USER, "ada").enclose(async {
    ///     heist_runtime::task::yield_now().await;
    ///     USER.get()
    /// });
    /// assert_eq!(inside.await, Some("ada"));
    /// assert_eq!(USER.get(), None);
    /// # }).unwrap();
    /// ```
    pub fn enclose<F: Future>(self, future: F) -> Enclosed<F> {
        Enclosed {
            future: Some(future),
            context: self,
        }
    }

    /// Makes this the context of a task that is being made.
    #[cold]
    pub(crate) fn become_that_of(self, task: &Header) {
        drop(task.change_context(|context| std::mem::replace(context, self)));
    }

    fn entries(&self) -> &[Entry] {
        self.map.as_ref().map_or(&[], |map| &map.entries)
    }

    fn value(&self, var: &Var) -> Option<Value> {
        let entry = self.entries().iter().find(|entry| entry.is_of(var))?;
        Some(entry.value.clone())
    }

    /// The number that tells this context from others, made when a token first needs it.
    fn id(&mut self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(NOWHERE + 1);
        if self.id == NOWHERE {
            // Relaxed: only uniqueness matters. A shared write for each context in which something is set, once.
            self.id = NEXT.fetch_add(1, Relaxed);
        }
        self.id
    }

    /// Sets a variable and gives the value before, for the caller to drop where that does no harm.
    fn put(&mut self, var: &'static Var, value: Value) -> Option<Value> {
        // If the map was shared, the clone has every value that the shared one has: no value is dropped here.
        let map = Arc::make_mut(self.map.get_or_insert_default());
        let entry = map.entries.iter_mut().find(|entry| entry.is_of(var));
        match entry {
            Some(entry) => Some(std::mem::replace(&mut entry.value, value)),
            None => {
                map.private += usize::from(!var.inherit);
                map.entries.push(Entry { var, value });
                None
            }
        }
    }

    /// Takes a variable out and gives its value, for the caller to drop.
    fn remove(&mut self, var: &Var) -> Option<Value> {
        let index = self.entries().iter().position(|entry| entry.is_of(var))?;
        let map = Arc::make_mut(self.map.as_mut()?);
        let entry = map.entries.remove(index);
        map.private -= usize::from(!var.inherit);
        if map.entries.is_empty() {
            self.map = None;
        }
        Some(entry.value)
    }

    /// What tasks spawned in this context start with.
    fn copied(&self) -> Self {
        let map = match &self.map {
            Some(map) if map.private > 0 => map.without_private(),
            map => map.clone(),
        };
        Self { id: NOWHERE, map }
    }
}

impl Map {
    #[cold]
    fn without_private(&self) -> Option<Arc<Self>> {
        let inherited = self.entries.iter().filter(|entry| entry.var.inherit);
        let entries: Vec<_> = inherited.cloned().collect();
        (!entries.is_empty()).then(|| {
            Arc::new(Self {
                entries,
                private: 0,
            })
        })
    }
}

impl Clone for Context {
    /// The clone has all variables, those that are not inherited included; tokens of the one are none of the other.
    fn clone(&self) -> Self {
        Self {
            id: NOWHERE,
            map: self.map.clone(),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context ")?;
        f.debug_list().entries(self.names()).finish()
    }
}

/// A copy of this code's context: what a task spawned here starts with. asyncio's `contextvars.copy_context`.
///
/// Variables that are not [inherited](ContextVar::inherit) are not in it. Cheap: nothing is copied before one of the two changes.
///
/// # Examples
///
/// A thread of one's own starts with an empty context, unless it is given one:
///
/// ```
/// use heist_runtime::context::{ContextVar, copy_context};
///
/// static USER: ContextVar<&str> = ContextVar::new("user");
///
/// USER.set("ada");
/// let mut context = copy_context();
/// let thread = std::thread::spawn(move || (USER.get(), context.run(|| USER.get())));
/// assert_eq!(thread.join().unwrap(), (None, Some("ada")));
/// ```
#[inline]
pub fn copy_context() -> Context {
    look(Context::copied).unwrap_or_default()
}

pin_project! {
    /// The future of [`Context::enclose`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Enclosed<F> {
        // Invariant: `Some` until it is dropped.
        #[pin]
        future: Option<F>,
        context: Context,
    }

    impl<F> PinnedDrop for Enclosed<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.context.run(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Enclosed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.future.as_pin_mut() {
            Some(future) => this.context.run(|| future.poll(cx)),
            None => unreachable!("the future is there until this is dropped"),
        }
    }
}

impl<F> fmt::Debug for Enclosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enclosed")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// A context on a thread, in front of that of the task which the thread runs.
struct Layer {
    /// The run of a task in which this layer was made: only code of the same run is in it, not that of a task run inside, by a `block_on`
    /// for instance. Null: made outside of any task. Only compared. Invariant: that run has not returned.
    frame: *const Frame,
    context: Context,
}

thread_local! {
    /// The innermost last. The first may be the thread's own, which stays; the others are a [`Context::run`]'s each. If no task runs
    /// here, all were made outside of any: the last is the current one.
    static LAYERS: RefCell<Vec<Layer>> = const { RefCell::new(Vec::new()) };
    /// How many there are. Without a destructor: every spawn asks.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// What this module keeps of a thread; see `current::ThreadState`.
#[cfg(feature = "sim")]
#[derive(Default)]
pub(crate) struct ThreadState(Vec<Layer>);

#[cfg(feature = "sim")]
impl ThreadState {
    /// Puts this in the place of what the calling thread has, and takes that.
    pub(crate) fn exchange(&mut self) {
        LAYERS.with(|layers| std::mem::swap(&mut *layers.borrow_mut(), &mut self.0));
        DEPTH.set(LAYERS.with(|layers| layers.borrow().len()));
    }
}

/// Reads the context of the code that asks, if it has one. `read` is no foreign code: a lock may be held.
#[inline]
fn look<R>(read: impl FnOnce(&Context) -> R) -> Option<R> {
    if DEPTH.get() > 0 && is_layer_current() {
        return read_layer(read);
    }
    current::with_task(|task| task?.read_context(read))
}

/// Changes the context of the code that asks. `change` is as in [`look`]; `None`, and it is dropped uncalled, if there is no context any more.
fn change<R>(change: impl FnOnce(&mut Context) -> R) -> Option<R> {
    let is_layer = DEPTH.get() > 0 && is_layer_current();
    if !is_layer && !current::frame().is_null() {
        return current::with_task(|task| task?.change_context(change));
    }
    if !is_layer && !push(&mut Context::new()) {
        return None;
    }
    let changed = LAYERS.try_with(|layers| {
        let mut layers = layers.borrow_mut();
        Some(change(&mut layers.last_mut()?.context))
    });
    changed.ok().flatten()
}

#[cold]
fn is_layer_current() -> bool {
    let frame = current::frame();
    let is_current = |layers: &RefCell<Vec<Layer>>| {
        let layers = layers.borrow();
        layers.last().is_some_and(|layer| layer.frame == frame)
    };
    // Fails only in the thread's last destructors.
    LAYERS.try_with(is_current).unwrap_or(false)
}

#[cold]
fn read_layer<R>(read: impl FnOnce(&Context) -> R) -> Option<R> {
    let of_last = |layers: &RefCell<Vec<Layer>>| {
        let layers = layers.borrow();
        Some(read(&layers.last()?.context))
    };
    LAYERS.try_with(of_last).ok().flatten()
}

/// Makes a context the thread's innermost and leaves an empty one in its place. False in the thread's last destructors.
fn push(context: &mut Context) -> bool {
    let frame = current::frame();
    let pushed = LAYERS.try_with(|layers| {
        let context = std::mem::take(context);
        layers.borrow_mut().push(Layer { frame, context });
        DEPTH.set(DEPTH.get() + 1);
    });
    pushed.is_ok()
}

/// This thread is in a context, until it is dropped.
struct Inside<'a> {
    context: &'a mut Context,
    /// False in the thread's last destructors.
    entered: bool,
}

impl<'a> Inside<'a> {
    fn enter(context: &'a mut Context) -> Self {
        let entered = push(context);
        Self { context, entered }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if !self.entered {
            return;
        }
        let popped = LAYERS.try_with(|layers| {
            DEPTH.set(DEPTH.get() - 1);
            layers.borrow_mut().pop()
        });
        if let Ok(Some(layer)) = popped {
            *self.context = layer.context;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    static ONE: ContextVar<u32> = ContextVar::new("one");
    static TWO: ContextVar<String> = ContextVar::with_default("two", || "default".into());
    static PRIVATE: ContextVar<u32> = ContextVar::new("private").inherit(false);

    #[test]
    fn a_thread_has_a_context_of_its_own() {
        assert!(copy_context().is_empty());
        ONE.set(1);
        let other = std::thread::spawn(|| (ONE.get(), ONE.set(2).old_value().copied(), ONE.get()));
        assert_eq!(other.join().unwrap(), (None, None, Some(2)));
        assert_eq!(ONE.get(), Some(1));
    }

    #[test]
    fn the_default_is_no_value() {
        assert_eq!(TWO.get().as_deref(), Some("default"));
        assert_eq!(copy_context().get(&TWO), None);
        let token = TWO.set("set".into());
        assert!(token.old_value().is_none());
        assert_eq!(copy_context().get(&TWO).as_deref(), Some("set"));
        TWO.reset(token).unwrap();
        assert!(copy_context().is_empty());
        assert_eq!(TWO.with(String::len), Some(7));
    }

    #[test]
    fn tokens_go_back_in_any_order() {
        let first = ONE.set(1);
        let second = ONE.set(2);
        let third = ONE.set(3);
        ONE.reset(second).unwrap();
        assert_eq!(ONE.get(), Some(1));
        ONE.reset(third).unwrap();
        assert_eq!(ONE.get(), Some(2));
        ONE.reset(first).unwrap();
        assert_eq!(ONE.get(), None);
    }

    #[test]
    fn a_token_is_good_for_its_variable_in_its_context() {
        static ALSO_ONE: ContextVar<u32> = ContextVar::new("one");
        let token = ONE.set(1);
        let error = ALSO_ONE.reset(token).unwrap_err();
        assert!(error.is_other_variable() && !error.is_other_context());
        let mut inside = copy_context();
        let error = inside.run(|| ONE.reset(error.into_token())).unwrap_err();
        assert!(error.is_other_context() && !error.is_other_variable());
        assert!(error.to_string().contains("another context"), "{error}");
        assert_eq!((inside.get(&ONE), ONE.get()), (Some(1), Some(1)));

        // Left and entered again, it is the same context; its clone is another one.
        let token = inside.run(|| ONE.set(2));
        let error = inside.clone().run(|| ONE.reset(token)).unwrap_err();
        assert!(error.is_other_context());
        inside.run(|| ONE.reset(error.into_token())).unwrap();
        assert_eq!(inside.get(&ONE), Some(1));
    }

    #[test]
    fn contexts_nest_and_share_nothing_that_changes() {
        ONE.set(1);
        let mut outer = copy_context();
        let mut inner = outer.clone();
        outer.run(|| {
            ONE.set(2);
            inner.run(|| {
                assert_eq!(ONE.get(), Some(1));
                ONE.set(3);
                TWO.set("inner".into());
            });
            assert_eq!(ONE.get(), Some(2));
        });
        assert_eq!(ONE.get(), Some(1));
        assert_eq!((outer.get(&ONE), outer.len()), (Some(2), 1));
        assert_eq!((inner.get(&ONE), inner.len()), (Some(3), 2));
        assert_eq!(inner.names().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn a_panic_leaves_the_context_with_what_was_set() {
        let mut context = Context::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            context.run(|| {
                ONE.set(1);
                std::panic::resume_unwind(Box::new(()));
            })
        }));
        assert!(panicked.is_err());
        assert_eq!((context.get(&ONE), ONE.get()), (Some(1), None));
    }

    #[test]
    fn what_is_not_inherited_is_in_no_copy() {
        ONE.set(1);
        let token = PRIVATE.set(2);
        let copy = copy_context();
        assert_eq!((copy.get(&ONE), copy.get(&PRIVATE)), (Some(1), None));
        let explicit = copy.with(&PRIVATE, 3);
        assert_eq!(explicit.clone().get(&PRIVATE), Some(3));
        PRIVATE.reset(token).unwrap();
        assert_eq!(copy_context().len(), 1);
        assert_eq!(explicit.len(), 2);
        assert!(Context::new().with(&PRIVATE, 4).copied().is_empty());
    }

    #[test]
    fn values_go_with_the_last_context_that_has_them() {
        static VALUE: ContextVar<Arc<()>> = ContextVar::new("value");
        let value = Arc::new(());
        let mut context = Context::new().with(&VALUE, value.clone());
        let clone = context.clone();
        context.run(|| drop(VALUE.set(Arc::new(()))));
        assert_eq!(Arc::strong_count(&value), 2);
        drop(clone);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn destructors_of_values_may_use_variables() {
        struct Restless;
        impl Drop for Restless {
            fn drop(&mut self) {
                drop(ONE.set(ONE.get().unwrap_or(0) + 1));
                drop(copy_context());
                Context::new().run(|| ONE.set(1));
            }
        }
        static RESTLESS: ContextVar<Restless> = ContextVar::new("restless");
        let counted = std::thread::spawn(|| {
            let token = RESTLESS.set(Restless);
            RESTLESS.reset(token).unwrap();
            drop(RESTLESS.set(Restless));
            drop(RESTLESS.set(Restless));
            // The last one goes with the thread, when there is no context any more.
            ONE.get()
        });
        assert_eq!(counted.join().unwrap(), Some(2));
    }

    #[test]
    fn many_variables_are_kept_apart() {
        static VARS: [ContextVar<usize>; 500] = [const { ContextVar::new("many") }; 500];
        let vars: Vec<&'static ContextVar<usize>> = VARS.iter().collect();
        let mut context = Context::new();
        for (n, var) in vars.iter().copied().enumerate() {
            context = context.with(var, n);
        }
        let tokens: Vec<_> = context.run(|| vars.iter().map(|var| var.set(0)).collect());
        context.run(|| {
            for (n, token) in tokens.into_iter().enumerate() {
                assert_eq!(token.old_value(), Some(&n));
                token.var().reset(token).unwrap();
            }
            assert!(vars.iter().enumerate().all(|(n, var)| var.get() == Some(n)));
        });
    }
}
