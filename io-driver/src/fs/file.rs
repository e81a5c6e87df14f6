//! An open file.
//!
//! One operation is under way at a time, on another thread, and it owns its buffer: so a future can be
//! dropped at any time. The next operation of the file waits until that one has ended, and goes on from
//! what came of it:
//!
//! ```text
//!   was under way      what comes of it
//!   a read             its bytes are the next read's; before anything else they are put back, by a seek
//!   a write            is the next write's, if that is of the same bytes; else it happened, and nobody asks
//!   a seek             is the next seek's, if that goes to the same place; else it happened
//! ```
//!
//! A write is over when the system has the bytes, not when they are copied: there is nothing to be lost
//! at a drop, and errors come where they belong. That write-behind would be faster for many small writes
//! is true, but so is a buffered writer, which says what it does.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{Metadata, Permissions};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::open_options::OpenOptions;
use crate::leaf;
use crate::offload::{Call, MOST, Write, copy_to, offloaded, uninterrupted};

/// An open file: [`std::fs::File`], whose calls are made on threads that may block.
///
/// A write that has returned `Ok` is with the system: nothing needs to be flushed, and nothing is lost
/// when the file is dropped. The file is closed when it is dropped, or when the operation that is still
/// under way then has ended.
///
/// One operation is under way at a time. For several at once, [`try_clone`](Self::try_clone) or open
/// the file twice. Reads and writes take at most 256 KiB at a time, and each goes to another thread and
/// back; wrap the file in a buffered reader or writer for many small ones.
///
/// # When a future is dropped
///
/// The operation that it waited for runs to its end, unless it waits for a thread and the file is dropped
/// too, and the next one waits for that. Bytes that it reads are there for the next read; a write or a
/// seek puts them back first. Bytes that it writes may or may not be written; a next write that begins
/// with the same bytes takes up that one, and does not write them twice.
/// [`flush`](Self::flush) waits for it, and says what came of a write.
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// use heist_io_driver::fs::File;
/// use std::io::SeekFrom;
///
/// let mut file = File::options().read(true).write(true).create(true).open("numbers").await?;
/// file.write_all(b"one two").await?;
/// file.seek(SeekFrom::Start(4)).await?;
/// let mut bytes = [0; 3];
/// file.read_exact(&mut bytes).await?;
/// assert_eq!(&bytes, b"two");
/// # Ok(())
/// # }
/// ```
pub struct File {
    std: Arc<std::fs::File>,
    running: Option<Running>,
    /// Read, and taken by nobody: the file's position is behind them. Invariant: empty while a read is
    /// under way.
    unread: VecDeque<u8>,
    /// Whether a seek can put back what is unread. Where it cannot (pipes, terminals), reads and writes
    /// have no position in common.
    seekable: bool,
}

enum Running {
    Read(Call<Vec<u8>>),
    Write(Write),
    Seek(SeekFrom, Call<u64>),
    /// The seek that puts back what is unread.
    PutBack(Call<u64>),
}

/// Opening.
impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        File::options().read(true).open(path).await
    }

    /// Opens a file for writing, which is made, or loses what it had.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe, but what has begun runs to its end: the file may have been made.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        options.open(path).await
    }

    /// Makes a file and opens it for reading and writing.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is one; those of [`std::fs::File::create_new`]; an error if there is no
    /// thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe, but what has begun runs to its end: the file may have been made.
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        options.open(path).await
    }

    /// For opening a file in other ways.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file of std's, at the position where it is.
    #[must_use]
    pub fn from_std(file: std::fs::File) -> File {
        File {
            std: Arc::new(file),
            running: None,
            unread: VecDeque::new(),
            seekable: true,
        }
    }

    /// Gives std's file back, when what was under way has ended. Its position is where the last read or
    /// write that returned left it; from where no seek leads back (pipes), bytes that nobody took are lost.
    ///
    /// # Errors
    ///
    /// That of a write whose future was dropped; the position could not be put back.
    ///
    /// # Cancel safety
    ///
    /// Not safe: the file is closed.
    pub async fn into_std(mut self) -> io::Result<std::fs::File> {
        self.flush().await?;
        poll_fn(|cx| self.poll_in_place(cx)).await?;
        match Arc::try_unwrap(self.std) {
            Ok(file) => Ok(file),
            // A call of a dropped future (`metadata`, say) still has it.
            Err(shared) => shared.try_clone(),
        }
    }
}

/// Reading, writing, seeking.
impl File {
    /// Reads at most `buf.len()` bytes, and returns how many. 0 is the end of the file, unless `buf` is
    /// empty.
    ///
    /// # Errors
    ///
    /// The system's; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe: what a dropped future would have read is the next read's, or the error that it would have had.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_with(cx, buf.len(), copy_to(buf))).await
    }

    /// Fills all of `buf`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before; those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Not safe: bytes that were read before the drop are in `buf`, and nobody knows how many.
    pub async fn read_exact(&mut self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read(buf).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => buf = &mut buf[n..],
            }
        }
        Ok(())
    }

    /// Reads to the end of the file, behind what `buf` has, and returns how many bytes.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read). What was read before is in `buf`.
    ///
    /// # Cancel safety
    ///
    /// Safe: what was read before the drop is in `buf`.
    pub async fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let before = buf.len();
        while poll_fn(|cx| self.poll_read_with(cx, MOST, |bytes| buf.extend_from_slice(bytes)))
            .await?
            > 0
        {}
        Ok(buf.len() - before)
    }

    /// Writes a part of `buf`, at most 256 KiB, and returns how many bytes. They are with the system then.
    ///
    /// # Errors
    ///
    /// The system's; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// The bytes may or may not be written: see [`File`]. The same call again does not write them twice.
    pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write_some(cx, buf)).await
    }

    /// Writes all of `buf`. It is with the system then.
    ///
    /// # Errors
    ///
    /// `WriteZero` if the system takes nothing any more; those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not safe: a part of `buf` may have been written before the drop, and nobody knows how much.
    pub async fn write_all(&mut self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write(buf).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => buf = &buf[n..],
            }
        }
        Ok(())
    }

    /// Goes to another position, and returns it, in bytes from the beginning.
    ///
    /// # Errors
    ///
    /// `NotSeekable` if it is no file that has positions, `InvalidInput` if it would be before the
    /// beginning; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// The position may or may not be changed. The same call again does not change it twice.
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        poll_fn(|cx| self.poll_seek_to(cx, to)).await
    }

    /// Waits for the operation of a future that was dropped. After a write that returned there is nothing
    /// to do: the system has the bytes.
    ///
    /// # Errors
    ///
    /// That of the write that was waited for.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flushed(cx)).await
    }

    /// One read, which is handed to `take`: at most `most` bytes.
    pub(super) fn poll_read_with(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if most == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.running.is_none() && !self.unread.is_empty() {
            ready!(leaf::poll_budget(cx));
            leaf::spend();
            return Poll::Ready(Ok(self.hand_out(most, take)));
        }
        loop {
            match &mut self.running {
                Some(Running::Read(read)) => {
                    let bytes = ready!(Pin::new(read).poll(cx));
                    self.running = None;
                    self.unread = bytes?.into();
                    return Poll::Ready(Ok(self.hand_out(most, take)));
                }
                // Its own error, if any, was a dropped future's.
                Some(_) => drop(ready!(self.poll_ended(cx))),
                None if !self.unread.is_empty() => {
                    return Poll::Ready(Ok(self.hand_out(most, take)));
                }
                None => {
                    let (std, len) = (self.std.clone(), most.min(MOST));
                    self.running = Some(Running::Read(offloaded(move || {
                        let mut bytes = vec![0; len];
                        let n = uninterrupted(|| (&*std).read(&mut bytes))?;
                        bytes.truncate(n);
                        Ok(bytes)
                    })?));
                }
            }
        }
    }

    fn hand_out(&mut self, most: usize, take: impl FnOnce(&[u8])) -> usize {
        let (front, _) = self.unread.as_slices();
        let n = front.len().min(most);
        take(&front[..n]);
        self.unread.drain(..n);
        n
    }

    /// One write.
    pub(super) fn poll_write_some(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if let Some(Running::Write(write)) = &mut self.running
                && write.is_of(buf)
            {
                let written = ready!(write.poll(cx));
                self.running = None;
                return Poll::Ready(written);
            }
            if !self.is_in_place() {
                ready!(self.poll_in_place(cx))?;
            }
            let std = self.std.clone();
            let write = Write::start(buf, move |bytes| uninterrupted(|| (&*std).write(bytes)))?;
            self.running = Some(Running::Write(write));
        }
    }

    /// One seek.
    pub(super) fn poll_seek_to(
        &mut self,
        cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        loop {
            if let Some(Running::Seek(there, seek)) = &mut self.running
                && *there == to
            {
                let position = ready!(Pin::new(seek).poll(cx));
                self.running = None;
                return Poll::Ready(position);
            }
            if !self.is_in_place() {
                ready!(self.poll_in_place(cx))?;
            }
            self.running = Some(Running::Seek(to, self.seek_call(to)?));
        }
    }

    /// Starts a seek, for who will ask for it later; false if something else is under way.
    #[cfg(feature = "tokio-io")]
    pub(super) fn start_seek(&mut self, to: SeekFrom) -> io::Result<bool> {
        let free = self.is_in_place();
        if free {
            self.running = Some(Running::Seek(to, self.seek_call(to)?));
        }
        Ok(free)
    }

    /// Waits for the seek under way, if there is one; else makes the file ready for one.
    #[cfg(feature = "tokio-io")]
    pub(super) fn poll_seek_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match &self.running {
            Some(Running::Seek(to, _)) => {
                let to = *to;
                self.poll_seek_to(cx, to)
            }
            _ => self.poll_in_place(cx).map_ok(|()| 0),
        }
    }

    fn seek_call(&self, to: SeekFrom) -> io::Result<Call<u64>> {
        let std = self.std.clone();
        offloaded(move || (&*std).seek(to))
    }

    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ended(cx)
    }

    /// Waits until nothing is under way. What was read is unread then; the error is a write's.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(running) = &mut self.running else {
            return Poll::Ready(Ok(()));
        };
        let mut ended = Ok(());
        match running {
            Running::Read(read) => {
                let bytes = ready!(Pin::new(read).poll(cx));
                self.unread = bytes.unwrap_or_default().into();
            }
            Running::Write(write) => ended = ready!(write.poll(cx)).map(drop),
            Running::Seek(_, seek) => drop(ready!(Pin::new(seek).poll(cx))),
            Running::PutBack(seek) => match ready!(Pin::new(seek).poll(cx)) {
                Ok(_) => self.unread.clear(),
                Err(error) if error.kind() == ErrorKind::NotSeekable => self.seekable = false,
                Err(error) => ended = Err(error),
            },
        }
        self.running = None;
        Poll::Ready(ended)
    }

    /// Whether nothing is under way, and the position is where the user believes it.
    fn is_in_place(&self) -> bool {
        self.running.is_none() && (self.unread.is_empty() || !self.seekable)
    }

    /// Waits until that is so.
    fn poll_in_place(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_in_place() {
            match &self.running {
                Some(Running::PutBack(_)) => ready!(self.poll_ended(cx))?,
                // Its own error, if any, was a dropped future's.
                Some(_) => drop(ready!(self.poll_ended(cx))),
                None => {
                    // No more than `MOST`.
                    let back = SeekFrom::Current(-(self.unread.len() as i64));
                    self.running = Some(Running::PutBack(self.seek_call(back)?));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Calls that have nothing to do with the position, and so go beside whatever is under way.
impl File {
    /// Waits until the storage device has the content and the metadata.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::sync_all`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    #[doc(alias = "fsync")]
    pub async fn sync_all(&self) -> io::Result<()> {
        self.with_std(|file| file.sync_all()).await
    }

    /// Waits until the storage device has the content, and what is needed to find it.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::sync_data`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    #[doc(alias = "fdatasync")]
    pub async fn sync_data(&self) -> io::Result<()> {
        self.with_std(|file| file.sync_data()).await
    }

    /// Cuts the file to `size` bytes, or adds zeros up to there.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_len`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe, but what has begun runs to its end.
    #[doc(alias = "truncate")]
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        self.with_std(move |file| file.set_len(size)).await
    }

    /// What the system knows of the file.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::metadata`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.with_std(|file| file.metadata()).await
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_permissions`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe, but what has begun runs to its end.
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.with_std(move |file| file.set_permissions(permissions))
            .await
    }

    /// A second handle of the same open file, with the same position. Bytes that a dropped read has left
    /// behind stay with this one.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::try_clone`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn try_clone(&self) -> io::Result<File> {
        self.with_std(|file| file.try_clone())
            .await
            .map(File::from_std)
    }

    async fn with_std<T: Send + 'static>(
        &self,
        call: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let std = self.std.clone();
        offloaded(move || call(&std))?.await
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        File::from_std(file)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for File {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.std.as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for File {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.std.as_raw_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsHandle for File {
    fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.std.as_handle()
    }
}
