//! What a node must not forget: its vote, its log, and what the log has made of the keys. All in one file of redb's.
//!
//! Votes and log entries are on the disk when openraft is told so: the others count on them. What was applied is not; a crash takes it back to some
//! earlier entry, from which the log is applied again. A transaction that waits for the disk makes lasting whatever was committed before it.

use crate::{Command, Entry, LogId, SnapshotMeta, StoredMembership, Types, Vote};
use futures_util::{Stream, StreamExt};
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder,
    RaftStateMachine, Snapshot,
};
use openraft::{EntryPayload, OptionalSend};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const KEYS: TableDefinition<'_, &str, &str> = TableDefinition::new("keys");
/// One of each.
const MARKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("marks");
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";
const SNAPSHOT: &str = "snapshot";

/// All keys with their values.
pub(crate) type Keys = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
struct Saved {
    meta: SnapshotMeta,
    keys: Keys,
}

/// A handle to the file.
#[derive(Clone)]
pub(crate) struct Store(Arc<Database>);

impl Store {
    /// Blocks for as long as the file takes to open.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let database = Database::create(path).map_err(io::Error::other)?;
        let begin = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(LOG)?;
            transaction.open_table(KEYS)?;
            transaction.open_table(MARKS)?;
            Ok(transaction.commit()?)
        };
        begin().map_err(io::Error::other)?;
        Ok(Self(Arc::new(database)))
    }

    pub(crate) async fn get(&self, key: String) -> io::Result<Option<String>> {
        self.call(move |database| {
            let keys = database.begin_read()?.open_table(KEYS)?;
            Ok(keys.get(&*key)?.map(|value| value.value().to_owned()))
        })
        .await
    }

    pub(crate) async fn keys(&self) -> io::Result<Keys> {
        self.call(|database| all_keys(&database.begin_read()?.open_table(KEYS)?))
            .await
    }

    /// Calls what waits for the disk on a thread that may.
    async fn call<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> io::Result<T> {
        let database = self.0.clone();
        match heist::spawn_blocking(move || body(&database)).await {
            Ok(result) => result.map_err(|Failure(error)| error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// A transaction. With [`Durability::Immediate`] it is on the disk when this returns.
    async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        body: impl FnOnce(&WriteTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> io::Result<T> {
        self.call(move |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
        .await
    }

    async fn mark<T: DeserializeOwned + Send + 'static>(
        &self,
        name: &'static str,
    ) -> io::Result<Option<T>> {
        self.call(move |database| read_mark(&database.begin_read()?.open_table(MARKS)?, name))
            .await
    }
}

/// redb has an error type for each of its calls.
struct Failure(io::Error);

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(io::Error::other(error.into()))
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure(error.into()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure(error.into()))
}

fn read_mark<T: DeserializeOwned>(
    marks: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Option<T>, Failure> {
    let Some(bytes) = marks.get(name)? else {
        return Ok(None);
    };
    decode(bytes.value())
}

fn set_mark(
    transaction: &WriteTransaction,
    name: &'static str,
    value: &impl Serialize,
) -> Result<(), Failure> {
    let mut marks = transaction.open_table(MARKS)?;
    marks.insert(name, &*encode(value)?)?;
    Ok(())
}

fn all_keys(table: &impl ReadableTable<&'static str, &'static str>) -> Result<Keys, Failure> {
    let mut keys = Keys::new();
    for pair in table.iter()? {
        let (key, value) = pair?;
        keys.insert(key.value().to_owned(), value.value().to_owned());
    }
    Ok(keys)
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.call(move |database| {
            let log = database.begin_read()?.open_table(LOG)?;
            log.range::<u64>(range)?
                .map(|entry| decode(entry?.1.value()))
                .collect()
        })
        .await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.mark(VOTE).await
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        self.call(|database| {
            let transaction = database.begin_read()?;
            let purged: Option<LogId> = read_mark(&transaction.open_table(MARKS)?, PURGED)?;
            let last = match transaction.open_table(LOG)?.last()? {
                Some((_, entry)) => Some(decode::<Entry>(entry.value())?.log_id),
                None => purged,
            };
            Ok(LogState {
                last_purged_log_id: purged,
                last_log_id: last,
            })
        })
        .await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.write(Durability::Immediate, move |transaction| {
            set_mark(transaction, VOTE, &vote)
        })
        .await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.write(Durability::Immediate, move |transaction| {
            let mut log = transaction.open_table(LOG)?;
            for entry in entries {
                log.insert(entry.log_id.index, &*encode(&entry)?)?;
            }
            Ok(())
        })
        .await?;
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        self.write(Durability::Immediate, move |transaction| {
            remove(&mut transaction.open_table(LOG)?, from..)
        })
        .await
    }

    async fn purge(&mut self, last: LogId) -> io::Result<()> {
        self.write(Durability::Immediate, move |transaction| {
            remove(&mut transaction.open_table(LOG)?, ..=last.index)?;
            set_mark(transaction, PURGED, &last)
        })
        .await
    }
}

fn remove(log: &mut Table<'_, u64, &[u8]>, range: impl RangeBounds<u64>) -> Result<(), Failure> {
    let range = (range.start_bound().cloned(), range.end_bound().cloned());
    Ok(log.retain_in::<u64, _>(range, |_, _| false)?)
}

impl RaftStateMachine<Types> for Store {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.call(|database| {
            let marks = database.begin_read()?.open_table(MARKS)?;
            let membership = read_mark(&marks, MEMBERSHIP)?;
            Ok((read_mark(&marks, APPLIED)?, membership.unwrap_or_default()))
        })
        .await
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let (mut batch, mut responders) = (Vec::new(), Vec::new());
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            batch.push(entry);
            responders.push(responder);
        }
        let answers = self
            .write(Durability::None, move |transaction| {
                apply(transaction, batch)
            })
            .await?;
        for (responder, answer) in responders.into_iter().zip(answers) {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Vec<u8>) -> io::Result<()> {
        let meta = meta.clone();
        self.write(Durability::Immediate, move |transaction| {
            let keys: Keys = decode(&snapshot)?;
            let mut table = transaction.open_table(KEYS)?;
            table.retain(|_, _| false)?;
            for (key, value) in &keys {
                table.insert(&**key, &**value)?;
            }
            set_mark(transaction, APPLIED, &meta.last_log_id)?;
            set_mark(transaction, MEMBERSHIP, &meta.last_membership)?;
            set_mark(transaction, SNAPSHOT, &Saved { meta, keys })
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<crate::Snapshot>> {
        let saved: Option<Saved> = self.mark(SNAPSHOT).await?;
        saved.map(snapshot).transpose()
    }
}

impl RaftSnapshotBuilder<Types> for Store {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<crate::Snapshot> {
        let saved = self
            .write(Durability::Immediate, |transaction| {
                let saved = {
                    let marks = transaction.open_table(MARKS)?;
                    Saved {
                        meta: SnapshotMeta {
                            last_log_id: read_mark(&marks, APPLIED)?,
                            last_membership: read_mark(&marks, MEMBERSHIP)?.unwrap_or_default(),
                        },
                        keys: all_keys(&transaction.open_table(KEYS)?)?,
                    }
                };
                set_mark(transaction, SNAPSHOT, &saved)?;
                Ok(saved)
            })
            .await?;
        snapshot(saved)
    }
}

fn snapshot(saved: Saved) -> io::Result<crate::Snapshot> {
    Ok(Snapshot {
        meta: saved.meta,
        snapshot: serde_json::to_vec(&saved.keys)?,
    })
}

/// What each command gives to whoever gave it: the value that was there before.
fn apply(
    transaction: &WriteTransaction,
    entries: Vec<Entry>,
) -> Result<Vec<Option<String>>, Failure> {
    let mut keys = transaction.open_table(KEYS)?;
    let mut answers = Vec::with_capacity(entries.len());
    for entry in entries {
        set_mark(transaction, APPLIED, &entry.log_id)?;
        let before = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(Command::Set { key, value }) => keys.insert(&*key, &*value)?,
            EntryPayload::Normal(Command::Remove { key }) => keys.remove(&*key)?,
            EntryPayload::Membership(membership) => {
                let membership = StoredMembership::new(Some(entry.log_id), membership);
                set_mark(transaction, MEMBERSHIP, &membership)?;
                None
            }
        };
        answers.push(before.map(|before| before.value().to_owned()));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use heist_openraft::HeistRuntime;
    use openraft::StorageError;
    use openraft::async_runtime::AsyncRuntime;
    use openraft::testing::log::{StoreBuilder, Suite};
    use tempfile::TempDir;

    struct New;

    impl StoreBuilder<Types, Store, Store, TempDir> for New {
        async fn build(&self) -> Result<(TempDir, Store, Store), StorageError<Types>> {
            let directory = TempDir::new().unwrap();
            let store = Store::open(&directory.path().join("node")).unwrap();
            Ok((directory, store.clone(), store))
        }
    }

    /// openraft's own tests of storages.
    #[test]
    fn the_suite_of_openraft_passes() {
        HeistRuntime::new(2).block_on(Suite::test_all(New)).unwrap();
    }
}
