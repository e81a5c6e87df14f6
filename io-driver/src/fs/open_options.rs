//! How a file is opened.

use std::io;
use std::path::Path;

use super::file::File;
use crate::offload::offloaded;

/// How a file is opened: [`std::fs::OpenOptions`], with an `open` that waits.
///
/// # Examples
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// use heist_io_driver::fs::OpenOptions;
/// let mut log = OpenOptions::new().append(true).create(true).open("log").await?;
/// log.write_all(b"begun\n").await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(std::fs::OpenOptions);

/// std's setters, which say the same here.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($value:ty);)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $name: $value) -> &mut OpenOptions {
            self.0.$name($name);
            self
        }
    )*};
}

impl OpenOptions {
    /// None set.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions(std::fs::OpenOptions::new())
    }

    setters! {
        /// For reading.
        read(bool);
        /// For writing, from the beginning, over what is there.
        write(bool);
        /// For writing, each time at the end.
        append(bool);
        /// Drops what is there. Needs `write`.
        truncate(bool);
        /// Makes the file if there is none. Needs `write` or `append`.
        create(bool);
        /// Makes the file, and fails if there is one. Needs `write` or `append`.
        create_new(bool);
    }

    /// Opens the file.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::OpenOptions::open`]; an error if there is no thread to be had.
    ///
    /// # Cancel safety
    ///
    /// Safe, but what has begun runs to its end: the file may have been made. It is closed then.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (options, path) = (self.0.clone(), path.as_ref().to_owned());
        let file = offloaded(move || options.open(path))?.await?;
        Ok(File::from_std(file))
    }
}

#[cfg(unix)]
impl OpenOptions {
    /// The permissions of a file that is made, less what the process's umask takes away.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        std::os::unix::fs::OpenOptionsExt::mode(&mut self.0, mode);
        self
    }

    /// Further flags of the system call, such as `O_NOFOLLOW`.
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut self.0, flags);
        self
    }
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(options: std::fs::OpenOptions) -> OpenOptions {
        OpenOptions(options)
    }
}
