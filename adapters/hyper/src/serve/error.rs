//! What goes wrong with one connection.

use std::any::Any;
use std::error::Error;
use std::{fmt, io};

/// How a connection ended that did not end well. It ended alone: the others, and the server, go on.
///
/// See [`Serve::on_error`](crate::Serve::on_error).
pub struct ConnectionError(Kind);

enum Kind {
    /// Before it was clear what is spoken.
    Opening(io::Error),
    Http(hyper::Error),
    /// The peer has left answers unread, or their windows closed.
    Unread,
    Panic(Option<String>),
}

impl ConnectionError {
    pub(super) fn opening(error: io::Error) -> Self {
        Self(Kind::Opening(error))
    }

    pub(super) fn unread() -> Self {
        Self(Kind::Unread)
    }

    pub(super) fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&'static str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(Kind::Panic(text.map(str::to_owned)))
    }

    /// Whether the peer took longer than it may: to shake hands, to send a request's head, or to read.
    pub fn is_timeout(&self) -> bool {
        let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        match &self.0 {
            Kind::Opening(error) => is_late(error),
            Kind::Http(error) => {
                let cause = error.source().and_then(|cause| cause.downcast_ref());
                error.is_timeout() || cause.is_some_and(is_late)
            }
            Kind::Unread => true,
            Kind::Panic(_) => false,
        }
    }

    /// Whether the service has panicked, or the body of its answer.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Kind::Panic(_))
    }

    /// hyper's error, if it is one: the peer spoke something else than HTTP, or was gone, or the service gave an error.
    pub fn as_hyper(&self) -> Option<&hyper::Error> {
        match &self.0 {
            Kind::Http(error) => Some(error),
            _ => None,
        }
    }
}

impl From<hyper::Error> for ConnectionError {
    fn from(error: hyper::Error) -> Self {
        Self(Kind::Http(error))
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Opening(error) => write!(f, "before the first request: {error}"),
            Kind::Http(error) => match error.source() {
                Some(cause) => write!(f, "{error}: {cause}"),
                None => error.fmt(f),
            },
            Kind::Unread => f.write_str("the peer has not read its answers for as long as it may"),
            Kind::Panic(Some(message)) => write!(f, "the service panicked: {message}"),
            Kind::Panic(None) => f.write_str("the service panicked"),
        }
    }
}

impl fmt::Debug for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionError({self})")
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Opening(error) => Some(error),
            Kind::Http(error) => Some(error),
            Kind::Unread | Kind::Panic(_) => None,
        }
    }
}
