//! An open-addressing hash table whose entries lie in the order of their hashes.
//!
//! Where an entry belongs is its tag scaled to the number of slots, so that tags only grow from slot to slot but for
//! what collisions push onwards. That buys three things. All key groups share one table, large enough to be laid on
//! huge pages, without which every access of a large table waits for the page tables. A table grows bit by
//! bit: what has been moved to the larger one are the tags below a frontier, so that one comparison says where to look.
//! And a place in the order is a tag, which stays what it is whatever moves meanwhile: a snapshot goes by that.
//!
//! Probing is linear, without wrapping round. Removing shifts the following entries back; there are no tombstones, and
//! the order of the slots is a function of the inserts and removals alone.

use crate::huge_pages::prefer_huge_pages;
use crate::prefetch::prefetch;

/// An entry that carries the 32 bits of its hash that place it.
pub(crate) trait Tagged {
    /// Those bits; equal entries have equal tags.
    fn tag(&self) -> u32;
}

/// Entries by tag, none of them twice.
#[derive(Debug)]
pub(crate) struct OrderedTable<E> {
    run: Run<E>,
    /// The table that is being emptied into `run`, from low tags to high ones.
    moving: Option<Moving<E>>,
    len: usize,
    /// The number of slots that a table may have; the sizes on the way there are its halves.
    most_homes: usize,
}

/// Slots in the order of the tags they are meant for.
#[derive(Debug)]
struct Run<E> {
    /// Grows as far as entries reach; what was never reached is vacant, and costs nothing.
    slots: Vec<Option<E>>,
    /// The number of slots that tags are scaled to; entries may be pushed a little further.
    homes: usize,
}

#[derive(Debug)]
struct Moving<E> {
    from: Run<E>,
    /// Everything before this slot has been moved.
    next: usize,
    /// The lowest tag that is still in `from`; [`TAGS`] when none is, and only its memory is left to go.
    frontier: u64,
}

/// Where an entry is, or would be. Good until the next insert or removal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    at: usize,
    /// Whether it is in the table that is being emptied.
    moving: bool,
}

/// The smallest table that is not empty.
const FIRST_HOMES: usize = 8;
/// Slots that are emptied with each insert or removal while a table is being moved.
const MOVED_SLOTS: usize = 32;
/// One more than the highest tag.
pub(crate) const TAGS: u64 = 1 << 32;

/// The memory that a table takes for each entry, in bytes.
pub(crate) fn bytes_for_each<E>() -> usize {
    size_of::<Option<E>>() * 8 / 5
}

impl<E> Default for OrderedTable<E> {
    fn default() -> Self {
        Self { run: Run::new(0), moving: None, len: 0, most_homes: usize::MAX }
    }
}

impl<E> Run<E> {
    fn new(homes: usize) -> Self {
        let mut slots = Vec::new();
        if homes > 0 {
            // Room for what is pushed beyond the last home, so that the memory never moves.
            slots.reserve_exact(homes + homes / 64 + 32);
            prefer_huge_pages(slots.spare_capacity_mut());
        }
        Self { slots, homes }
    }

    /// The slot where an entry with this tag is looked for first.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.homes as u64) >> 32) as usize
    }

    /// The lowest tag whose home is `at` or a later slot.
    fn lowest_tag(&self, at: usize) -> u64 {
        if at >= self.homes { TAGS } else { ((at as u64) << 32).div_ceil(self.homes as u64) }
    }
}

impl<E: Tagged> Run<E> {
    #[inline]
    fn find(&self, tag: u32, matches: impl Fn(&E) -> bool) -> Result<usize, usize> {
        let mut at = self.home(tag);
        while let Some(Some(entry)) = self.slots.get(at) {
            if entry.tag() == tag && matches(entry) {
                return Ok(at);
            }
            at += 1;
        }
        Err(at)
    }

    fn put(&mut self, vacant: usize, entry: E) {
        if vacant >= self.slots.len() {
            self.slots.resize_with(vacant + 1, || None);
        }
        self.slots[vacant] = Some(entry);
    }

    /// Takes out the entry of an occupied slot and closes the gap.
    fn remove(&mut self, slot: usize) -> Option<E> {
        let removed = self.slots[slot].take();
        let mut gap = slot;
        for at in slot + 1..self.slots.len() {
            let Some(entry) = &self.slots[at] else { break };
            // An entry may move back to the gap unless that lies before its home.
            if self.home(entry.tag()) <= gap {
                self.slots.swap(gap, at);
                gap = at;
            }
        }
        removed
    }
}

impl<E: Tagged> OrderedTable<E> {
    /// The slot of the entry that `matches`, or else the slot where it would be inserted.
    #[inline]
    pub(crate) fn find(&self, tag: u32, matches: impl Fn(&E) -> bool) -> Result<Slot, Slot> {
        if self.moving.is_some() {
            return self.find_while_moving(tag, matches);
        }
        let slot = |at| Slot { at, moving: false };
        self.run.find(tag, matches).map(slot).map_err(slot)
    }

    #[inline(never)]
    fn find_while_moving(&self, tag: u32, matches: impl Fn(&E) -> bool) -> Result<Slot, Slot> {
        let (run, moving) = self.run_of(tag);
        let slot = |at| Slot { at, moving };
        run.find(tag, matches).map(slot).map_err(slot)
    }

    /// Begins to load the slot where an entry with this tag would be.
    #[inline]
    pub(crate) fn prefetch(&self, tag: u32) {
        // While a table is being moved this may ask for the wrong one, which only costs time.
        let home = self.run.home(tag);
        if let Some([first, second]) = self.run.slots.get(home..home + 2) {
            prefetch(first);
            // Where an entry straddles two cache lines, or has been pushed one further, the next line is needed, too.
            prefetch(second);
        }
    }

    #[inline]
    fn run_of(&self, tag: u32) -> (&Run<E>, bool) {
        match &self.moving {
            Some(moving) if u64::from(tag) >= moving.frontier => (&moving.from, true),
            _ => (&self.run, false),
        }
    }

    /// The entry in a slot that [`find`](Self::find) has found.
    #[inline]
    pub(crate) fn at(&self, slot: Slot) -> &E {
        let run = match &self.moving {
            Some(moving) if slot.moving => &moving.from,
            _ => &self.run,
        };
        run.slots[slot.at].as_ref().expect("find returns slots that are occupied")
    }

    /// The entry in a slot that [`find`](Self::find) has found, to be changed.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut E {
        let run = if slot.moving { self.emptied() } else { &mut self.run };
        run.slots[slot.at].as_mut().expect("find returns slots that are occupied")
    }

    #[cold]
    fn emptied(&mut self) -> &mut Run<E> {
        self.moving.as_mut().map_or(&mut self.run, |moving| &mut moving.from)
    }

    /// Adds an entry that is not there yet, and returns its slot.
    pub(crate) fn insert(&mut self, entry: E) -> Slot {
        self.len += 1;
        // At most five eighths are occupied: fuller tables cost more in mispredicted branches than they save in memory.
        if self.len * 8 > self.run.homes * 5 && self.run.homes < self.most_homes {
            self.begin_moving(self.next_homes());
        }
        self.go_on_moving(MOVED_SLOTS);
        let slot = match self.find(entry.tag(), |_| false) {
            Ok(slot) | Err(slot) => slot,
        };
        match &mut self.moving {
            Some(moving) if slot.moving => moving.from.put(slot.at, entry),
            _ => self.run.put(slot.at, entry),
        }
        slot
    }

    /// Takes out the entry in a slot that [`find`](Self::find) has found.
    pub(crate) fn remove(&mut self, slot: Slot) -> E {
        let run = match &mut self.moving {
            Some(moving) if slot.moving => &mut moving.from,
            _ => &mut self.run,
        };
        let removed = run.remove(slot.at).expect("find returns slots that are occupied");
        self.len -= 1;
        if self.len * 8 < self.run.homes && self.run.homes > FIRST_HOMES {
            self.begin_moving(self.run.homes / 2);
        }
        self.go_on_moving(MOVED_SLOTS);
        removed
    }

    /// [`remove`](Self::remove) for a table that keeps its size.
    pub(crate) fn remove_in_place(&mut self, slot: Slot) -> E {
        self.len -= 1;
        let run = if slot.moving { self.emptied() } else { &mut self.run };
        run.remove(slot.at).expect("find returns slots that are occupied")
    }

    /// Looks at `slots` slots from the tag `from` on, and takes out the entries that `goes` picks. Returns where to go
    /// on, [`TAGS`] at the end. The table keeps its size.
    pub(crate) fn remove_some(
        &mut self,
        from: u64,
        slots: usize,
        mut goes: impl FnMut(&mut E) -> bool,
        mut gone: impl FnMut(E),
    ) -> u64 {
        while self.moving.is_some() {
            self.go_on_moving(usize::MAX);
        }
        let begin = ((from * self.run.homes as u64) >> 32) as usize;
        let end = (begin + slots).min(self.run.slots.len());
        let mut picked = Vec::new();
        for at in begin..end {
            if self.run.slots[at].as_mut().is_some_and(&mut goes) {
                picked.push(at);
            }
        }
        // What is removed moves only what lies behind it.
        for at in picked.into_iter().rev() {
            if let Some(entry) = self.run.remove(at) {
                self.len -= 1;
                gone(entry);
            }
        }
        if end == self.run.slots.len() { TAGS } else { self.run.lowest_tag(end) }
    }

    /// Makes room for so many entries in all, at once. To be called where they come in the order of their tags, as from
    /// a snapshot: while a table grows, those would crowd at one end of it.
    pub(crate) fn reserve(&mut self, entries: usize) {
        let homes = self.homes_for((entries * 8).div_ceil(5));
        if homes <= self.run.homes.max(FIRST_HOMES) {
            return;
        }
        if self.len == 0 {
            (self.run, self.moving) = (Run::new(homes), None);
            return;
        }
        self.begin_moving(homes);
        while self.moving.is_some() {
            self.go_on_moving(usize::MAX);
        }
    }

    /// So many entries have room without growing.
    pub(crate) fn room(&self) -> usize {
        self.run.homes / 8 * 5
    }

    /// Lets the table grow to where so many entries have room, and no further.
    pub(crate) fn keep_within(&mut self, entries: usize) {
        self.most_homes = (entries * 8).div_ceil(5) + 1;
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slots that have been reached, vacant ones included.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.run.slots.len() + self.moving.as_ref().map_or(0, |moving| moving.from.slots.len())
    }

    /// The most slots that are occupied without a vacant one between them.
    #[cfg(test)]
    pub(crate) fn longest_run(&self) -> usize {
        let runs = self.run.slots.split(Option::is_none);
        runs.map(<[_]>::len).max().unwrap_or(0)
    }

    /// The entries in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        let moving = self.moving.iter().filter_map(|moving| moving.from.slots.get(moving.next..)).flatten();
        self.run.slots.iter().chain(moving).flatten()
    }

    /// Shows entries in the order of their slots, from the tag `from` on, until `visit` says that it has had enough;
    /// then on to the next vacant slot. Returns the tag below which all have been shown, [`TAGS`] at the end. `visit`
    /// is told of vacant slots, too.
    ///
    /// Whatever is inserted, removed and moved between two such calls, an entry that was there at the first one is
    /// shown, or was before it went: the tags below a vacant slot are below it for good.
    pub(crate) fn visit(&mut self, from: u64, mut visit: impl FnMut(Option<&mut E>) -> bool) -> u64 {
        let mut from = from;
        let mut more = true;
        let frontier = self.moving.as_ref().map_or(TAGS, |moving| moving.frontier);
        if from < frontier {
            from = self.run.visit(from, &mut more, &mut visit).min(frontier);
        }
        if let Some(moving) = &mut self.moving
            && from >= frontier
            && more
        {
            from = moving.from.visit(from, &mut more, &mut visit);
        }
        from
    }

    /// The size that a table grows to.
    fn next_homes(&self) -> usize {
        self.homes_for(self.run.homes + 1)
    }

    /// The smallest size that has so many slots, or the largest there may be.
    fn homes_for(&self, slots: usize) -> usize {
        if self.most_homes == usize::MAX {
            return slots.next_power_of_two().max(FIRST_HOMES);
        }
        let mut homes = self.most_homes;
        while homes / 2 >= slots && homes / 2 >= FIRST_HOMES {
            homes /= 2;
        }
        homes
    }

    fn begin_moving(&mut self, homes: usize) {
        // Only a table that was just begun can be short of room already: what is left of the one before it is little.
        while self.moving.is_some() {
            self.go_on_moving(usize::MAX);
        }
        let from = std::mem::replace(&mut self.run, Run::new(homes));
        self.moving = Some(Moving { from, next: 0, frontier: 0 });
    }

    /// Moves what is in the next `slots` slots, and on to the next vacant one: nothing that belongs before it lies
    /// behind it.
    fn go_on_moving(&mut self, slots: usize) {
        let Some(moving) = &mut self.moving else { return };
        if moving.frontier == TAGS {
            // Dropping values looks at each slot, vacant as it is: that, too, is not done all at once.
            let left = moving.from.slots.len().saturating_sub(slots.saturating_mul(4));
            moving.from.slots.truncate(left);
            if left == 0 {
                self.moving = None;
            }
            return;
        }
        let enough = moving.next.saturating_add(slots);
        while let Some(slot) = moving.from.slots.get_mut(moving.next) {
            moving.next += 1;
            match slot.take() {
                Some(entry) => {
                    let vacant = match self.run.find(entry.tag(), |_| false) {
                        Ok(at) | Err(at) => at,
                    };
                    self.run.put(vacant, entry);
                }
                None if moving.next >= enough => {
                    moving.frontier = moving.from.lowest_tag(moving.next);
                    return;
                }
                None => {}
            }
        }
        moving.frontier = TAGS;
    }
}

impl<E> Run<E> {
    /// See [`OrderedTable::visit`]; `more` is whether `visit` has not had enough yet.
    fn visit(&mut self, from: u64, more: &mut bool, visit: &mut impl FnMut(Option<&mut E>) -> bool) -> u64 {
        let start = ((from * self.homes as u64) >> 32) as usize;
        for at in start..self.slots.len() {
            let vacant = self.slots[at].is_none();
            *more &= visit(self.slots[at].as_mut());
            if vacant && !*more {
                return self.lowest_tag(at + 1);
            }
        }
        TAGS
    }
}
