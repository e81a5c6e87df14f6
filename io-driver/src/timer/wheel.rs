//! A hierarchical timer wheel: a pure data structure over `u64` ticks.
//!
//! Eleven levels of 64 slots cover all of `u64`. An entry lives at the level of the highest
//! group of six bits in which its deadline differs from `elapsed`, in the slot that this group
//! names. Hence, at every level, all entries lie in slots ahead of `elapsed` within the same turn
//! of the level above (nothing ever wraps), and every entry of a lower level is due before every
//! entry of a higher one: the earliest slot is the first one of the lowest level in use.
//!
//! [`Wheel::expire`] walks from slot to slot and skips what is empty. The entries of a slot of
//! level 0 fire; those of a higher level *cascade*: each is put into the finer slot where it
//! belongs now. Each entry moved or fired counts against the caller's limit, so that a million
//! timers of one slot do not hold the wheel for long: the next call goes on where this one
//! stopped. A slot that has been reached gets no new entries (they would not lie ahead), so it
//! can be worked off in place; only while it cascades must it come before finer slots.
//!
//! [`Wheel::next_deadline`] is the earliest *deadline*, not the start of a coarse slot: each slot
//! keeps its minimum, so an idle driver does not wake up merely to cascade. After a removal the
//! minimum may be too low (never too high) until the slot is reached or emptied.
//!
//! Knows no clock, no lock, no waker.

/// Bits of a tick that one level resolves.
const BITS: u32 = 6;
/// Slots per level: as many as bits in the bitmap of a level.
const SLOTS: usize = 1 << BITS;
/// Levels: 11 x 6 bits cover the 64 of a tick.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// The list of entries that are due.
const DUE: u16 = (LEVELS * SLOTS) as u16;
/// In place of a slot: none.
const NO_SLOT: u16 = u16::MAX - 1;
/// The list of no entry: it is free.
const FREE: u16 = u16::MAX;
/// No entry.
const NIL: u32 = u32::MAX;
/// How many entries a removal looks at for the slot's new minimum. Enough for slots that few
/// timers share; where there are more, one needless wake-up is cheaper than walking them.
const RESCAN: usize = 8;

/// Names an entry until it fires or is removed; a stale key names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

struct Entry<T> {
    /// Invariant: `Some` exactly while `list != FREE`.
    value: Option<T>,
    deadline: u64,
    next: u32,
    /// Undefined for the first of a list.
    prev: u32,
    generation: u32,
    list: u16,
}

/// A doubly linked list of entries.
#[derive(Clone, Copy)]
struct List {
    /// A lower bound of the deadlines; exact unless entries were removed. `MAX` when empty.
    min: u64,
    head: u32,
    tail: u32,
}

const EMPTY: List = List {
    min: u64::MAX,
    head: NIL,
    tail: NIL,
};

/// Values with deadlines, which come back in the order of the deadlines.
pub(crate) struct Wheel<T> {
    /// Invariant: no entry outside `DUE` and the slot that is being worked off has a deadline at
    /// or before it. Never decreases.
    elapsed: u64,
    /// The slot above level 0 that is being worked off, else `NO_SLOT`.
    cascading: u16,
    /// Bit `l`: `slots[l]` is not zero.
    levels: u16,
    /// Bit `s` of `slots[l]`: list `l * SLOTS + s` is not empty.
    slots: [u64; LEVELS],
    lists: Box<[List]>,
    entries: Vec<Entry<T>>,
    /// First of the free entries, linked by `next`.
    free: u32,
    len: usize,
    /// Plants a bug: cascades put entries one slot late. The oracle test must notice.
    #[cfg(test)]
    pub(crate) sabotage: bool,
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Wheel<T> {
        Wheel {
            elapsed: 0,
            cascading: NO_SLOT,
            levels: 0,
            slots: [0; LEVELS],
            lists: vec![EMPTY; LEVELS * SLOTS + 1].into_boxed_slice(),
            entries: Vec::new(),
            free: NIL,
            len: 0,
            #[cfg(test)]
            sabotage: false,
        }
    }

    /// How many entries live here.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The earliest deadline, or a bound below it; `None` when empty. Work left over from an
    /// interrupted [`expire`](Wheel::expire) counts as due now.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        if self.list(DUE).head != NIL || self.cascading != NO_SLOT {
            return Some(self.elapsed);
        }
        self.first_slot().map(|slot| self.list(slot).min)
    }

    /// Adds an entry. A deadline that has passed fires at the next `expire`. Gives the value back
    /// if there are 2^32 entries already.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> Result<Key, T> {
        let index = match self.free {
            NIL => {
                let Ok(index) = u32::try_from(self.entries.len()) else {
                    return Err(value);
                };
                if index == NIL {
                    return Err(value);
                }
                self.entries.push(Entry {
                    value: Some(value),
                    deadline,
                    next: NIL,
                    prev: NIL,
                    generation: 0,
                    list: FREE,
                });
                index
            }
            index => {
                let entry = &mut self.entries[index as usize];
                self.free = entry.next;
                entry.value = Some(value);
                entry.deadline = deadline;
                index
            }
        };
        self.len += 1;
        self.link(index, self.list_for(deadline));
        Ok(Key {
            index,
            generation: self.entries[index as usize].generation,
        })
    }

    /// Takes an entry out before it fires.
    pub(crate) fn remove(&mut self, key: Key) -> Option<(u64, T)> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation || entry.list == FREE {
            return None;
        }
        let (list, deadline) = (entry.list, entry.deadline);
        self.unlink(key.index);
        if list < DUE && self.list(list).min == deadline {
            self.rescan(list);
        }
        self.release(key.index).map(|value| (deadline, value))
    }

    /// The value of an entry that has not fired.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        entry.value.as_mut()
    }

    /// Takes any one entry out, whatever its deadline.
    pub(crate) fn pop_any(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let index = match self.list(DUE).head {
            NIL => self.list(self.first_slot()?).head,
            due => due,
        };
        self.unlink(index);
        self.release(index)
    }

    /// Moves time on to `now` and hands every entry due by then to `fire`, in the order of the
    /// deadlines. Stops after `limit` steps; true means that there is more to do for this `now`.
    /// Time never goes back: a `now` before the present only works off what is left over.
    pub(crate) fn expire(&mut self, now: u64, limit: usize, fire: &mut impl FnMut(T)) -> bool {
        let mut steps = 0;
        loop {
            let (index, cascade) = match (self.list(DUE).head, self.cascading) {
                (NIL, NO_SLOT) => match self.first_slot() {
                    Some(slot) if self.start_of(slot) <= now => {
                        self.elapsed = self.start_of(slot);
                        if usize::from(slot) >= SLOTS {
                            self.cascading = slot;
                        }
                        (self.list(slot).head, usize::from(slot) >= SLOTS)
                    }
                    _ => {
                        self.elapsed = self.elapsed.max(now);
                        return false;
                    }
                },
                (NIL, slot) => (self.list(slot).head, true),
                (due, _) => (due, false),
            };
            if steps == limit {
                return true;
            }
            steps += 1;
            self.unlink(index);
            if cascade {
                self.relink(index);
            } else if let Some(value) = self.release(index) {
                fire(value);
            }
        }
    }

    /// The list in which an entry of this deadline belongs.
    #[inline]
    fn list_for(&self, deadline: u64) -> u16 {
        if deadline <= self.elapsed {
            return DUE;
        }
        let level = (u64::BITS - 1 - (deadline ^ self.elapsed).leading_zeros()) / BITS;
        let slot = (deadline >> (level * BITS)) as usize & (SLOTS - 1);
        (level as usize * SLOTS + slot) as u16
    }

    /// Puts a cascading entry where it belongs now.
    fn relink(&mut self, index: u32) {
        let list = self.list_for(self.entries[index as usize].deadline);
        #[cfg(test)]
        let list = if self.sabotage && list < DUE && usize::from(list) % SLOTS < SLOTS - 1 {
            list + 1
        } else {
            list
        };
        self.link(index, list);
    }

    /// The earliest slot that holds entries.
    #[inline]
    fn first_slot(&self) -> Option<u16> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let slot = self.slots[level].trailing_zeros() as usize;
        Some((level * SLOTS + slot) as u16)
    }

    /// The first tick of a slot that lies ahead.
    #[inline]
    fn start_of(&self, slot: u16) -> u64 {
        let level = u32::from(slot) / SLOTS as u32;
        let within = u64::from(slot) % SLOTS as u64;
        let shift = level * BITS;
        // The bits above this level are those of `elapsed`; at the top level there are none.
        let above = match self.elapsed.checked_shr(shift + BITS) {
            Some(bits) => bits << (shift + BITS),
            None => 0,
        };
        above | within << shift
    }

    #[inline]
    fn list(&self, list: u16) -> &List {
        &self.lists[usize::from(list)]
    }

    fn mark_empty(&mut self, slot: u16) {
        let (level, slot) = (usize::from(slot) / SLOTS, usize::from(slot) % SLOTS);
        self.slots[level] &= !(1 << slot);
        if self.slots[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Appends an entry to a list.
    fn link(&mut self, index: u32, list: u16) {
        let ends = &mut self.lists[usize::from(list)];
        let tail = std::mem::replace(&mut ends.tail, index);
        let entry = &mut self.entries[index as usize];
        entry.list = list;
        entry.next = NIL;
        entry.prev = tail;
        ends.min = ends.min.min(entry.deadline);
        if tail == NIL {
            ends.head = index;
            if list < DUE {
                let (level, slot) = (usize::from(list) / SLOTS, usize::from(list) % SLOTS);
                self.slots[level] |= 1 << slot;
                self.levels |= 1 << level;
            }
        } else {
            self.entries[tail as usize].next = index;
        }
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (list, prev, next) = (entry.list, entry.prev, entry.next);
        let ends = &mut self.lists[usize::from(list)];
        if ends.head == index {
            ends.head = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if ends.tail == index {
            ends.tail = if ends.head == NIL { NIL } else { prev };
        } else {
            self.entries[next as usize].prev = prev;
        }
        if ends.head == NIL {
            ends.min = u64::MAX;
            if list < DUE {
                self.mark_empty(list);
            }
            if list == self.cascading {
                self.cascading = NO_SLOT;
            }
        }
    }

    /// Finds the minimum of a slot that lost the entry which had it, if the slot is short.
    fn rescan(&mut self, list: u16) {
        let mut min = u64::MAX;
        let mut index = self.list(list).head;
        for _ in 0..RESCAN {
            if index == NIL {
                break;
            }
            let entry = &self.entries[index as usize];
            min = min.min(entry.deadline);
            index = entry.next;
        }
        if index == NIL {
            self.lists[usize::from(list)].min = min;
        }
    }

    /// Frees an unlinked entry. One whose generation is used up is never used again, so that a
    /// key cannot come to name another entry.
    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.list = FREE;
        self.len -= 1;
        if entry.generation < u32::MAX {
            entry.generation += 1;
            entry.next = self.free;
            self.free = index;
        }
        entry.value.take()
    }
}

#[cfg(test)]
mod tests;
