//! What is in a directory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use parking_lot::Mutex;

use crate::leaf;
use crate::offload::{Call, offloaded};

/// How many entries one call takes: enough that the way to another thread is a small part.
const BATCH: usize = 64;

type Entry = io::Result<std::fs::DirEntry>;

/// What is in a directory, in the system's order, without `.` and `..`.
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// let mut entries = heist_io_driver::fs::read_dir(".").await?;
/// while let Some(entry) = entries.next_entry().await? {
///     println!("{}", entry.file_name().display());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of [`std::fs::read_dir`]; an error if there is no thread to be had.
///
/// # Cancel safety
///
/// Safe.
#[doc(alias = "scandir")]
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    let rest = offloaded(move || std::fs::read_dir(path))?.await?;
    Ok(ReadDir {
        rest: Arc::new(Mutex::new(rest)),
        found: VecDeque::new(),
        finding: None,
    })
}

/// What is in a directory. Returned by [`read_dir`].
pub struct ReadDir {
    /// Locked by the call under way alone.
    rest: Arc<Mutex<std::fs::ReadDir>>,
    found: VecDeque<Entry>,
    finding: Option<Call<VecDeque<Entry>>>,
}

impl ReadDir {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// An entry could not be read, or there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe: no entry is lost.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_next_entry(cx)).await
    }

    /// The next entry, for those who poll.
    ///
    /// # Errors
    ///
    /// Those of [`next_entry`](Self::next_entry).
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        if self.found.is_empty() {
            if self.finding.is_none() {
                let rest = self.rest.clone();
                self.finding = Some(offloaded(move || {
                    Ok(rest.lock().by_ref().take(BATCH).collect())
                })?);
            }
            if let Some(finding) = &mut self.finding {
                let found = ready!(Pin::new(finding).poll(cx));
                self.finding = None;
                self.found = found?;
            }
        } else {
            ready!(leaf::poll_budget(cx));
            leaf::spend();
        }
        let next = self.found.pop_front().transpose()?;
        Poll::Ready(Ok(next.map(|entry| DirEntry(Arc::new(entry)))))
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir")
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

/// A file, directory or link in a directory. Cheap to clone.
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// # use heist_io_driver::fs;
/// let mut entries = fs::read_dir(".").await?;
/// while let Some(entry) = entries.next_entry().await? {
///     if entry.file_type().await?.is_file() {
///         println!("{}: {} bytes", entry.path().display(), entry.metadata().await?.len());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DirEntry(Arc<std::fs::DirEntry>);

impl DirEntry {
    /// The directory's path, as it was given, and the name in it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// The name in the directory.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// What the system knows of it. Links are not followed.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirEntry::metadata`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let entry = self.0.clone();
        offloaded(move || entry.metadata())?.await
    }

    /// Whether it is a file, a directory or a link.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirEntry::file_type`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn file_type(&self) -> io::Result<FileType> {
        let entry = self.0.clone();
        offloaded(move || entry.file_type())?.await
    }

    /// The number of its inode.
    #[cfg(unix)]
    #[must_use]
    pub fn ino(&self) -> u64 {
        std::os::unix::fs::DirEntryExt::ino(&*self.0)
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
