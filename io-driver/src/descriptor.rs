//! What all types with a descriptor show of it.

/// `AsFd` and `AsRawFd` (on Windows `AsSocket` and `AsRawSocket`), and a `Debug` that is the
/// descriptor's, for a type whose descriptor `$it => $source` leads to.
macro_rules! descriptor {
    ($type:ty, $it:ident => $source:expr) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $it = self;
                std::fmt::Debug::fmt($source, f)
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                let $it = self;
                std::os::fd::AsFd::as_fd($source)
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(self))
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsSocket for $type {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                let $it = self;
                std::os::windows::io::AsSocket::as_socket($source)
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsRawSocket for $type {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                let socket = std::os::windows::io::AsSocket::as_socket(self);
                std::os::windows::io::AsRawSocket::as_raw_socket(&socket)
            }
        }
    };
}

pub(crate) use descriptor;
