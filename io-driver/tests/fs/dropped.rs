//! Futures that are dropped while their call is under way, or before.

use super::*;

/// An open file with this content, at its beginning.
fn file(dir: &Dir, content: &str) -> File {
    std::fs::write(dir.at("file"), content).unwrap();
    let mut options = std::fs::File::options();
    let std = options.read(true).write(true).open(dir.at("file")).unwrap();
    File::from_std(std)
}

fn content(dir: &Dir) -> String {
    std::fs::read_to_string(dir.at("file")).unwrap()
}

/// A test on a file of which each call waits for the test.
fn on_file(content: &str, test: impl FnOnce(&Held, &Dir, File)) {
    let (held, dir) = (Held::default(), Dir::new());
    let rig = held.rig();
    let file = file(&dir, content);
    // Polled by the test itself, on the rig's driver.
    rig.block_on(async { test(&held, &dir, file) });
}

#[test]
fn what_has_not_begun_is_not_made() {
    on_file("kept", |held, dir, _| {
        begin_and_drop(fs::remove_file(dir.at("file")));
        held.make();
        assert_eq!(content(dir), "kept");
        held.run(fs::remove_file(dir.at("file"))).unwrap();
        assert!(!dir.at("file").exists());
    });
}

#[test]
fn bytes_of_a_dropped_read_are_the_next_reads() {
    for made_first in [true, false] {
        on_file("abcdefgh", |held, _, mut file| {
            begin_and_drop(file.read(&mut [0; 5]));
            if made_first {
                held.make();
            }
            let mut buf = [0; 3];
            assert_eq!(held.run(file.read(&mut buf)).unwrap(), 3);
            assert_eq!(&buf, b"abc");
            assert_eq!(held.run(file.read(&mut buf)).unwrap(), 2);
            assert_eq!(&buf[..2], b"de");
            let mut rest = Vec::new();
            held.run(file.read_to_end(&mut rest)).unwrap();
            assert_eq!(rest, b"fgh");
        });
    }
}

#[test]
fn a_write_after_a_dropped_read_goes_where_the_read_was() {
    on_file("abcdefgh", |held, dir, mut file| {
        let mut buf = [0; 2];
        held.run(file.read_exact(&mut buf)).unwrap();
        begin_and_drop(file.read(&mut [0; 4]));
        held.run(file.write_all(b"XY")).unwrap();
        assert_eq!(content(dir), "abXYefgh");
        held.run(file.read_exact(&mut buf)).unwrap();
        assert_eq!(&buf, b"ef");
    });
}

#[test]
fn a_position_after_a_dropped_read_is_what_it_was() {
    on_file("abcdefgh", |held, _, mut file| {
        begin_and_drop(file.read(&mut [0; 4]));
        assert_eq!(held.run(file.seek(SeekFrom::Current(1))).unwrap(), 1);
        begin_and_drop(file.read(&mut [0; 4]));
        let std = held.run(file.into_std()).unwrap();
        assert_eq!(io::read_to_string(std).unwrap(), "bcdefgh");
    });
}

#[test]
fn putting_back_may_itself_be_dropped() {
    on_file("abcdefgh", |held, dir, mut file| {
        begin_and_drop(file.read(&mut [0; 4]));
        held.make();
        begin_and_drop(file.write(b"XY"));
        held.make();
        // Put back, and not written: the next may be a read after all.
        let mut buf = [0; 2];
        held.run(file.read_exact(&mut buf)).unwrap();
        assert_eq!(&buf, b"ab");
        held.run(file.write_all(b"XY")).unwrap();
        assert_eq!(content(dir), "abXYefgh");
    });
}

#[test]
fn a_dropped_write_that_is_made_again_is_made_once() {
    for made_first in [true, false] {
        on_file("", |held, dir, mut file| {
            begin_and_drop(file.write(b"once"));
            if made_first {
                held.make();
            }
            held.run(file.write_all(b"once, ")).unwrap();
            held.run(file.write_all(b"twice")).unwrap();
            assert_eq!(content(dir), "once, twice");
        });
    }
}

#[test]
fn another_write_goes_behind_a_dropped_one() {
    on_file("", |held, dir, mut file| {
        begin_and_drop(file.write(b"first "));
        held.run(file.write_all(b"second")).unwrap();
        assert_eq!(content(dir), "first second");
    });
}

#[test]
fn a_dropped_seek_that_is_made_again_is_made_once() {
    on_file("abcdefgh", |held, _, mut file| {
        begin_and_drop(file.seek(SeekFrom::Current(2)));
        assert_eq!(held.run(file.seek(SeekFrom::Current(2))).unwrap(), 2);
        begin_and_drop(file.seek(SeekFrom::Current(2)));
        assert_eq!(held.run(file.seek(SeekFrom::Current(1))).unwrap(), 5);
    });
}

#[test]
fn flush_tells_what_came_of_a_dropped_write() {
    let (held, dir) = (Held::default(), Dir::new());
    std::fs::write(dir.at("file"), "").unwrap();
    let rig = held.rig();
    rig.block_on(async {
        // Not for writing.
        let mut file = File::from_std(std::fs::File::open(dir.at("file")).unwrap());
        begin_and_drop(file.write(b"x"));
        held.run(file.flush()).unwrap_err();
        held.run(file.flush()).unwrap();
    });
}

#[test]
fn a_file_dropped_with_a_write_under_way_is_written_and_closed() {
    use std::io::Read;
    // A pipe that is full, so that the write waits; and whose reader sees that it is closed.
    let (mut reader, writer) = io::pipe().unwrap();
    let rig = Rig::new(Config::default());
    let bytes = vec![1; 200_000];
    rig.block_on(async {
        let mut file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
        begin_and_drop(file.write(&bytes));
        // It has begun when its first bytes are there.
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        drop(file);
        let mut got = first.to_vec();
        reader.read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{}", got.len());
    });
}

#[test]
fn what_has_no_position_keeps_its_bytes_over_a_write() {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let held = Held::default();
    let rig = held.rig();
    rig.block_on(async {
        let mut file = File::from_std(std::fs::File::from(OwnedFd::from(ours)));
        theirs.write_all(b"question").unwrap();
        begin_and_drop(file.read(&mut [0; 8]));
        held.run(file.write_all(b"answer")).unwrap();
        let mut answer = [0; 6];
        theirs.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        let mut question = [0; 8];
        held.run(file.read_exact(&mut question)).unwrap();
        assert_eq!(&question, b"question");
        assert_eq!(
            kind(held.run(file.seek(SeekFrom::Start(0)))),
            ErrorKind::NotSeekable
        );
    });
}

#[test]
fn dropped_looks_into_a_directory_lose_no_entry() {
    on_file("", |held, dir, _| {
        for n in 0..150 {
            std::fs::write(dir.at(n.to_string()), "").unwrap();
        }
        let mut entries = held.run(fs::read_dir(&dir.0)).unwrap();
        let mut found = 0;
        loop {
            // Waits only where a batch has to be fetched; that is dropped each time.
            if let Poll::Ready(entry) = poll(pin!(entries.next_entry())) {
                match entry.unwrap() {
                    Some(_) => found += 1,
                    None => break,
                }
                continue;
            }
            held.make();
        }
        assert_eq!(found, 151);
    });
}
