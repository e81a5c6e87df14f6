//! What goes well, and std's errors.

use super::*;

#[test]
fn functions_do_what_stds_do() {
    let dir = Dir::new();
    Rig::new(Config::default()).block_on(async {
        let (a, b, c) = (dir.at("a"), dir.at("b"), dir.at("c"));
        fs::write(&a, "hello").await.unwrap();
        assert_eq!(fs::read(&a).await.unwrap(), b"hello");
        assert_eq!(fs::read_to_string(&a).await.unwrap(), "hello");
        assert_eq!(fs::metadata(&a).await.unwrap().len(), 5);
        assert!(fs::try_exists(&a).await.unwrap());
        assert!(!fs::try_exists(&b).await.unwrap());

        assert_eq!(fs::copy(&a, &b).await.unwrap(), 5);
        fs::hard_link(&a, &c).await.unwrap();
        fs::write(&c, "changed").await.unwrap();
        assert_eq!(fs::read_to_string(&a).await.unwrap(), "changed");
        assert_eq!(fs::read_to_string(&b).await.unwrap(), "hello");
        fs::rename(&b, &c).await.unwrap();
        assert_eq!(fs::read_to_string(&c).await.unwrap(), "hello");
        assert!(!fs::try_exists(&b).await.unwrap());

        let mut permissions = fs::metadata(&c).await.unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&c, permissions).await.unwrap();
        assert!(fs::metadata(&c).await.unwrap().permissions().readonly());

        #[cfg(unix)]
        {
            fs::symlink("a", &b).await.unwrap();
            assert_eq!(fs::read_link(&b).await.unwrap(), Path::new("a"));
            assert!(fs::symlink_metadata(&b).await.unwrap().is_symlink());
            assert!(fs::metadata(&b).await.unwrap().is_file());
            let real = fs::canonicalize(&a).await.unwrap();
            assert_eq!(fs::canonicalize(&b).await.unwrap(), real);
        }

        fs::create_dir(dir.at("one")).await.unwrap();
        fs::create_dir_all(dir.at("one/two/three")).await.unwrap();
        assert!(fs::remove_dir(dir.at("one")).await.is_err(), "not empty");
        fs::remove_dir(dir.at("one/two/three")).await.unwrap();
        fs::remove_dir_all(dir.at("one")).await.unwrap();
        fs::remove_file(&a).await.unwrap();
        assert!(!a.exists());
    });
}

#[test]
fn a_file_is_written_sought_and_read() {
    let dir = Dir::new();
    // Longer than one call takes, in which every position is told apart from its neighbours.
    let bytes: Vec<u8> = (0..700_001_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    Rig::new(Config::default()).block_on(async {
        let mut file = both_ways().open(dir.at("file")).await.unwrap();
        file.write_all(&bytes).await.unwrap();
        // With the system already: nothing was flushed.
        assert!(std::fs::read(dir.at("file")).unwrap() == bytes);
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();

        assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), 700_000);
        let mut last = [0; 1];
        file.read_exact(&mut last).await.unwrap();
        assert_eq!(last[0], bytes[700_000]);
        assert_eq!(file.read(&mut last).await.unwrap(), 0);
        assert_eq!(
            kind(file.read_exact(&mut last).await),
            ErrorKind::UnexpectedEof
        );

        assert_eq!(file.seek(SeekFrom::Start(100_000)).await.unwrap(), 100_000);
        let mut other = file.try_clone().await.unwrap();
        let mut rest = b"before".to_vec();
        assert_eq!(other.read_to_end(&mut rest).await.unwrap(), 600_001);
        assert!(rest[6..] == bytes[100_000..]);
        assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), 700_001);

        file.set_len(10).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 10);
        let mut permissions = file.metadata().await.unwrap().permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions).await.unwrap();
        assert!(
            std::fs::metadata(dir.at("file"))
                .unwrap()
                .permissions()
                .readonly()
        );
    });
}

#[test]
fn hundreds_of_files_at_once() {
    let dir = Dir::new();
    let rig = Rig::new(Config::default());
    let dir = &dir;
    let mut files: Vec<_> = (0..300)
        .map(|n| {
            Box::pin(async move {
                let path = dir.at(n.to_string());
                let mut file = File::create_new(&path).await.unwrap();
                for piece in 0..4 {
                    file.write_all(format!("{n}.{piece} ").as_bytes())
                        .await
                        .unwrap();
                }
                file.seek(SeekFrom::Start(0)).await.unwrap();
                let mut read = Vec::new();
                file.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, format!("{n}.0 {n}.1 {n}.2 {n}.3 ").into_bytes());
            })
        })
        .collect();
    rig.block_on(std::future::poll_fn(|cx| {
        files.retain_mut(|file| file.as_mut().poll(cx).is_pending());
        match files.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }));
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 300);
}

#[test]
fn options_are_stds() {
    let dir = Dir::new();
    Rig::new(Config::default()).block_on(async {
        let path = dir.at("file");
        fs::write(&path, "one").await.unwrap();
        let mut log = File::options().append(true).open(&path).await.unwrap();
        log.write_all(b" two").await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "one two");
        assert_eq!(
            kind(File::create_new(&path).await),
            ErrorKind::AlreadyExists
        );
        let mut emptied = File::create(&path).await.unwrap();
        emptied.write_all(b"three").await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "three");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mut options = both_ways();
            let file = options.mode(0o600).open(dir.at("mine")).await.unwrap();
            let mode = file.metadata().await.unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    });
}

#[test]
fn errors_are_stds() {
    let dir = Dir::new();
    Rig::new(Config::default()).block_on(async {
        let none = dir.at("none");
        let error = File::open(&none).await.unwrap_err();
        let stds = std::fs::File::open(&none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.raw_os_error(), stds.raw_os_error());
        assert_eq!(kind(fs::read(&none).await), ErrorKind::NotFound);
        assert_eq!(kind(fs::read_dir(&none).await), ErrorKind::NotFound);
        assert_eq!(kind(fs::create_dir(&dir.0).await), ErrorKind::AlreadyExists);
        fs::write(dir.at("bytes"), [0xff]).await.unwrap();
        let text = fs::read_to_string(dir.at("bytes")).await;
        assert_eq!(kind(text), ErrorKind::InvalidData);

        // Each time, and the file can still do what it can.
        let mut file = File::open(dir.at("bytes")).await.unwrap();
        for _ in 0..2 {
            let mut std = std::fs::File::open(dir.at("bytes")).unwrap();
            let stds = std::io::Write::write(&mut std, b"x").unwrap_err();
            let error = file.write_all(b"x").await.unwrap_err();
            assert_eq!(error.raw_os_error(), stds.raw_os_error());
        }
        let before = file.seek(SeekFrom::Current(-1)).await;
        assert_eq!(kind(before), ErrorKind::InvalidInput);
        assert_eq!(file.read(&mut [0; 4]).await.unwrap(), 1);
    });
}

#[test]
fn a_directory_gives_all_of_its_entries_once() {
    let dir = Dir::new();
    let mut names: Vec<_> = (0..200).map(|n| format!("entry {n}")).collect();
    for name in &names {
        std::fs::write(dir.at(name), name).unwrap();
    }
    Rig::new(Config::default()).block_on(async {
        let mut entries = fs::read_dir(&dir.0).await.unwrap();
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(entry.path(), dir.at(&name));
            assert!(entry.file_type().await.unwrap().is_file());
            assert_eq!(entry.metadata().await.unwrap().len(), name.len() as u64);
            found.push(name);
        }
        assert!(entries.next_entry().await.unwrap().is_none());
        names.sort();
        found.sort();
        assert_eq!(found, names);
    });
}

#[test]
fn futures_io_traits() {
    use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};
    use std::future::poll_fn;

    async fn through(mut file: impl AsyncRead + AsyncWrite + AsyncSeek + Unpin) -> Vec<u8> {
        let mut rest: &[u8] = b"the quick brown fox";
        while !rest.is_empty() {
            let n = poll_fn(|cx| Pin::new(&mut file).poll_write(cx, rest)).await;
            rest = &rest[n.unwrap()..];
        }
        let flushed = poll_fn(|cx| Pin::new(&mut file).poll_flush(cx)).await;
        flushed.unwrap();
        let to = SeekFrom::Start(4);
        let at = poll_fn(|cx| Pin::new(&mut file).poll_seek(cx, to)).await;
        assert_eq!(at.unwrap(), 4);
        let (mut all, mut buf) = (Vec::new(), [0; 3]);
        loop {
            match poll_fn(|cx| Pin::new(&mut file).poll_read(cx, &mut buf))
                .await
                .unwrap()
            {
                0 => break,
                n => all.extend_from_slice(&buf[..n]),
            }
        }
        poll_fn(|cx| Pin::new(&mut file).poll_close(cx))
            .await
            .unwrap();
        all
    }

    let dir = Dir::new();
    Rig::new(Config::default()).block_on(async {
        let file = both_ways().open(dir.at("file")).await.unwrap();
        assert_eq!(through(file).await, b"quick brown fox");
    });
}

#[test]
#[cfg(feature = "tokio-io")]
fn tokio_traits() {
    use std::future::poll_fn;
    use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

    let dir = Dir::new();
    let held = Held::default();
    let rig = held.rig();
    let text = b"the quick brown fox";
    rig.block_on(async {
        let mut options = std::fs::File::options();
        options.read(true).write(true).create_new(true);
        let mut file = File::from_std(options.open(dir.at("file")).unwrap());
        let mut file = Pin::new(&mut file);
        let written = held.run(poll_fn(|cx| {
            AsyncWrite::poll_write(file.as_mut(), cx, text)
        }));
        assert_eq!(written.unwrap(), text.len());
        // Under way, and so a seek has to wait for it.
        let mut cx = Context::from_waker(Waker::noop());
        let mut storage = [0; 5];
        let mut buf = ReadBuf::new(&mut storage);
        assert!(AsyncRead::poll_read(file.as_mut(), &mut cx, &mut buf).is_pending());
        file.as_mut().start_seek(SeekFrom::Start(4)).unwrap_err();
        held.run(poll_fn(|cx| file.as_mut().poll_complete(cx)))
            .unwrap();
        file.as_mut().start_seek(SeekFrom::Start(4)).unwrap();
        let at = held.run(poll_fn(|cx| file.as_mut().poll_complete(cx)));
        assert_eq!(at.unwrap(), 4);
        let read = poll_fn(|cx| AsyncRead::poll_read(file.as_mut(), cx, &mut buf));
        held.run(read).unwrap();
        assert_eq!(buf.filled(), b"quick");
        held.run(poll_fn(|cx| file.as_mut().poll_shutdown(cx)))
            .unwrap();
    });
}

#[test]
#[cfg(feature = "sim")]
fn a_simulation_has_no_files() {
    use heist_io_driver::sim::{NetConfig, Network};
    let dir = Dir::new();
    let path = dir.at("file");
    std::fs::write(&path, "real").unwrap();
    let mut file = File::from_std(std::fs::File::open(&path).unwrap());
    let network = Network::new(NetConfig::default(), 1, || None);
    let _entered = network.enter();
    let result = support::block_on(async {
        assert_eq!(kind(file.read(&mut [0; 4]).await), ErrorKind::Unsupported);
        assert_eq!(
            kind(fs::write(&path, "simulated").await),
            ErrorKind::Unsupported
        );
        fs::remove_file(&path).await
    });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("a simulation has no files"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "real");
}
