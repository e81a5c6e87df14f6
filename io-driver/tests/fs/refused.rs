//! No thread for a call: an error, and no hang.

use super::*;

fn no_pool() -> Refused {
    Refused::new(io::Error::new(ErrorKind::WouldBlock, "no pool"))
}

#[test]
fn a_refusal_is_the_error() {
    let dir = Dir::new();
    std::fs::write(dir.at("file"), "content").unwrap();
    let rig = rig(|_| Err(no_pool()));
    rig.block_on(async {
        let error = fs::read(dir.at("file")).await.unwrap_err();
        assert!(error.to_string().contains("no pool"), "{error}");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let std = std::fs::File::open(dir.at("file")).unwrap();
        let mut file = File::from_std(std);
        assert_eq!(kind(file.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
        assert_eq!(kind(file.write(b"x").await), ErrorKind::WouldBlock);
        assert_eq!(
            kind(file.seek(SeekFrom::Start(0)).await),
            ErrorKind::WouldBlock
        );
        assert_eq!(kind(file.metadata().await), ErrorKind::WouldBlock);
        assert_eq!(kind(fs::read_dir(&dir.0).await), ErrorKind::WouldBlock);
        // Nothing of it happened.
        let rest = file.into_std().await.unwrap();
        assert_eq!(io::read_to_string(rest).unwrap(), "content");
    });
}

#[test]
fn calls_that_are_given_up_are_errors_and_the_file_goes_on() {
    let (dir, held) = (Dir::new(), Held::default());
    std::fs::write(dir.at("file"), "content").unwrap();
    let rig = held.rig();
    rig.block_on(async {
        let mut file = File::from_std(std::fs::File::open(dir.at("file")).unwrap());
        let mut buf = [0; 7];
        let give_up = async { drop(held.next()) };
        let (read, ()) = join(file.read(&mut buf), give_up).await;
        let error = read.unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
        assert_eq!(held.run(file.read(&mut buf)).unwrap(), 7);
        assert_eq!(&buf, b"content");

        // A dropped read is the next one's, with its error.
        held.run(file.seek(SeekFrom::Start(0))).unwrap();
        begin_and_drop(file.read(&mut buf));
        drop(held.next());
        assert_eq!(kind(held.run(file.read(&mut buf))), ErrorKind::Other);
        assert_eq!(held.run(file.read(&mut buf)).unwrap(), 7);

        // What could not be put back is an error: the write would go elsewhere.
        held.run(file.seek(SeekFrom::Start(0))).unwrap();
        begin_and_drop(file.read(&mut [0; 4]));
        held.make();
        let (written, ()) = join(file.write(b"x"), async { drop(held.next()) }).await;
        assert!(written.unwrap_err().to_string().contains("given up"));
        assert_eq!(held.run(file.read(&mut buf)).unwrap(), 4);
        assert_eq!(&buf[..4], b"cont");

        let mut entries = held.run(fs::read_dir(&dir.0)).unwrap();
        let (entry, ()) = join(entries.next_entry(), async { drop(held.next()) }).await;
        assert!(entry.unwrap_err().to_string().contains("given up"));
        assert!(held.run(entries.next_entry()).unwrap().is_some());
    });
}
