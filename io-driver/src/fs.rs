//! Files and directories: std's functions, made on threads that may block.
//!
//! No system says when a file is ready, so that each call goes to a thread of the blocking pool (of
//! whatever [`Config::offload`](crate::Config::offload) says) and its future waits for the answer.
//! That costs some microseconds; for many small pieces, wrap a [`File`] in a buffered reader or writer.
//! The errors are std's, with their kinds, and an error of its own where there is no thread to be had:
//! the runtime has shut down, say.
//!
//! # When a future is dropped
//!
//! A call that a thread has begun cannot be interrupted. It runs to its end, and its answer is dropped:
//! a [`rename`] whose future was dropped may or may not have happened. One that still waits for a
//! thread is not made. Nothing is half done that std would not do half: a dropped [`write()`] never writes
//! a part and then stops. What holds for a [`File`] stands there.
//!
//! # Examples
//!
//! ```
//! use heist_io_driver::fs;
//!
//! async fn example(dir: &std::path::Path) -> std::io::Result<()> {
//!     fs::create_dir_all(dir).await?;
//!     fs::write(dir.join("greeting"), "hello").await?;
//!     assert_eq!(fs::read_to_string(dir.join("greeting")).await?, "hello");
//!     let mut entries = fs::read_dir(dir).await?;
//!     while let Some(entry) = entries.next_entry().await? {
//!         println!("{}", entry.path().display());
//!     }
//!     fs::remove_dir_all(dir).await
//! }
//! # let dir = std::env::temp_dir().join(format!("heist-doc-fs-{}", std::process::id()));
//! # let mut future = std::pin::pin!(example(&dir));
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! # let end = loop {
//! #     match future.as_mut().poll(&mut cx) {
//! #         std::task::Poll::Ready(end) => break end,
//! #         std::task::Poll::Pending => std::thread::yield_now(),
//! #     }
//! # };
//! # end.unwrap();
//! ```

mod dir;
mod file;
mod open_options;
mod traits;

pub use dir::{DirEntry, ReadDir, read_dir};
pub use file::File;
pub use open_options::OpenOptions;

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::offload::offloaded;

/// Functions of std's that take paths and nothing else.
macro_rules! of_paths {
    ($($std:path => $(#[$doc:meta])* $name:ident($($path:ident),+) -> $output:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        #[doc = concat!("Those of [`", stringify!($std), "`](fn@", stringify!($std), "); an error if there is no thread to be had.")]
        ///
        /// # Cancel safety
        ///
        /// Safe, but what has begun runs to its end: see [the module](self).
        pub async fn $name($($path: impl AsRef<Path>),+) -> io::Result<$output> {
            $(let $path = $path.as_ref().to_owned();)+
            offloaded(move || $std($($path),+))?.await
        }
    )*};
}

of_paths! {
    std::fs::read =>
    /// All of a file's bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let bytes = heist_io_driver::fs::read("Cargo.lock").await?;
    /// # Ok(())
    /// # }
    /// ```
    read(path) -> Vec<u8>;

    std::fs::read_to_string =>
    /// All of a file's text, which must be UTF-8.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let text = heist_io_driver::fs::read_to_string("Cargo.toml").await?;
    /// # Ok(())
    /// # }
    /// ```
    read_to_string(path) -> String;

    std::fs::create_dir =>
    /// Makes a directory in one that is there.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::create_dir("spool").await
    /// # }
    /// ```
    create_dir(path) -> ();

    std::fs::create_dir_all =>
    /// Makes a directory, and those it lies in, unless they are there.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::create_dir_all("spool/in").await
    /// # }
    /// ```
    create_dir_all(path) -> ();

    std::fs::remove_file =>
    /// Removes a file.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::remove_file("spool/in/1").await
    /// # }
    /// ```
    remove_file(path) -> ();

    std::fs::remove_dir =>
    /// Removes a directory that is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::remove_dir("spool/in").await
    /// # }
    /// ```
    remove_dir(path) -> ();

    std::fs::remove_dir_all =>
    /// Removes a directory with all that is in it. Links are removed, and not followed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::remove_dir_all("spool").await
    /// # }
    /// ```
    remove_dir_all(path) -> ();

    std::fs::rename =>
    /// Gives a file or directory another name. What had that name is replaced.
    ///
    /// # Examples
    ///
    /// The last step of replacing a file's content, so that nobody sees half of it:
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// use heist_io_driver::fs;
    /// fs::write("state.new", "42").await?;
    /// fs::rename("state.new", "state").await
    /// # }
    /// ```
    rename(from, to) -> ();

    std::fs::copy =>
    /// Copies a file's content and permissions to another file, which is made or replaced. Gives how many bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let bytes = heist_io_driver::fs::copy("state", "state.bak").await?;
    /// # Ok(())
    /// # }
    /// ```
    copy(from, to) -> u64;

    std::fs::hard_link =>
    /// Gives a file a second name.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::hard_link("state", "state.too").await
    /// # }
    /// ```
    hard_link(original, link) -> ();

    std::fs::metadata =>
    /// What the system knows of a file or directory. Links are followed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let size = heist_io_driver::fs::metadata("state").await?.len();
    /// # Ok(())
    /// # }
    /// ```
    metadata(path) -> Metadata;

    std::fs::symlink_metadata =>
    /// What the system knows of a file, a directory, or a link itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let is_link = heist_io_driver::fs::symlink_metadata("state").await?.is_symlink();
    /// # Ok(())
    /// # }
    /// ```
    symlink_metadata(path) -> Metadata;

    std::fs::canonicalize =>
    /// The path from the root, without links.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// assert!(heist_io_driver::fs::canonicalize(".").await?.is_absolute());
    /// # Ok(())
    /// # }
    /// ```
    canonicalize(path) -> PathBuf;

    std::fs::read_link =>
    /// Where a link leads.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// let target = heist_io_driver::fs::read_link("current").await?;
    /// # Ok(())
    /// # }
    /// ```
    read_link(path) -> PathBuf;

    std::fs::exists =>
    /// Whether there is something at the path. Links are followed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// assert!(heist_io_driver::fs::try_exists(".").await?);
    /// # Ok(())
    /// # }
    /// ```
    try_exists(path) -> bool;
}

#[cfg(unix)]
of_paths! {
    std::os::unix::fs::symlink =>
    /// Makes a link that leads to `original`, which need not be there.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// heist_io_driver::fs::symlink("releases/7", "current").await
    /// # }
    /// ```
    symlink(original, link) -> ();
}

/// Makes `contents` the content of a file, which is made or replaced.
///
/// When this returns `Ok`, the system has all of it. Whether it would outlast the machine's power is
/// another matter: see [`File::sync_all`].
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// heist_io_driver::fs::write("state", "42").await
/// # }
/// ```
///
/// # Errors
///
/// Those of [`std::fs::write`]; an error if there is no thread to be had.
///
/// # Cancel safety
///
/// Safe, but what has begun runs to its end: see [the module](self).
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref().to_owned(), contents.as_ref().to_owned());
    offloaded(move || std::fs::write(path, contents))?.await
}

/// Changes who may do what with a file or directory.
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// use heist_io_driver::fs;
/// let mut permissions = fs::metadata("state").await?.permissions();
/// permissions.set_readonly(true);
/// fs::set_permissions("state", permissions).await
/// # }
/// ```
///
/// # Errors
///
/// Those of [`std::fs::set_permissions`]; an error if there is no thread to be had.
///
/// # Cancel safety
///
/// Safe, but what has begun runs to its end: see [the module](self).
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    offloaded(move || std::fs::set_permissions(path, permissions))?.await
}
