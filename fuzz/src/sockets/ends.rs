//! One side of a connection: whole, in two halves, one of them, or closed.

use heist::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

pub(super) enum End {
    Whole(TcpStream),
    Split(OwnedReadHalf, OwnedWriteHalf),
    Reader(OwnedReadHalf),
    Writer(OwnedWriteHalf),
    Gone,
}

impl End {
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Gone)
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    pub(super) fn reader(&self) -> Option<&TcpStream> {
        match self {
            Self::Whole(stream) => Some(stream),
            Self::Split(reader, _) | Self::Reader(reader) => Some(reader.as_ref()),
            Self::Writer(_) | Self::Gone => None,
        }
    }

    pub(super) fn writer(&self) -> Option<&TcpStream> {
        match self {
            Self::Whole(stream) => Some(stream),
            Self::Split(_, writer) | Self::Writer(writer) => Some(writer.as_ref()),
            Self::Reader(_) | Self::Gone => None,
        }
    }

    pub(super) fn any(&self) -> Option<&TcpStream> {
        self.reader().or(self.writer())
    }

    pub(super) fn split(&mut self) {
        *self = match self.take() {
            Self::Whole(stream) => {
                let (reader, writer) = stream.into_split();
                Self::Split(reader, writer)
            }
            other => other,
        };
    }

    pub(super) fn reunite(&mut self) {
        *self = match self.take() {
            Self::Split(reader, writer) => {
                Self::Whole(reader.reunite(writer).expect("halves of one stream"))
            }
            other => other,
        };
    }

    /// Halves of two streams come back as they were.
    pub(super) fn reunite_wrongly(&mut self, other: &mut Self) {
        match (self.take(), other.take()) {
            (Self::Split(a, b), Self::Split(c, d)) => {
                let wrong = a.reunite(d).expect_err("halves of two streams");
                let (a, d) = wrong.into_halves();
                let wrong = b.reunite(c).expect_err("halves of two streams");
                let (c, b) = wrong.into_halves();
                (*self, *other) = (Self::Split(a, b), Self::Split(c, d));
            }
            (one, another) => (*self, *other) = (one, another),
        }
    }

    /// True if that closed the connection.
    pub(super) fn drop_reader(&mut self) -> bool {
        let (left, closed) = match self.take() {
            Self::Split(_, writer) => (Self::Writer(writer), false),
            Self::Reader(_) => (Self::Gone, true),
            other => (other, false),
        };
        *self = left;
        closed
    }

    /// True if that closed the connection.
    pub(super) fn drop_writer(&mut self, forget: bool) -> bool {
        let (left, writer, closed) = match self.take() {
            Self::Split(reader, writer) => (Self::Reader(reader), Some(writer), false),
            Self::Writer(writer) => (Self::Gone, Some(writer), true),
            other => (other, None, false),
        };
        *self = left;
        match writer {
            Some(writer) if forget => writer.forget(),
            _ => {}
        }
        closed
    }

    /// Out of the driver and in again.
    pub(super) fn remake(&mut self) {
        *self = match self.take() {
            Self::Whole(stream) => {
                let stream = stream.into_std().expect("it was registered");
                Self::Whole(TcpStream::from_std(stream).expect("it can be again"))
            }
            other => other,
        };
    }
}
