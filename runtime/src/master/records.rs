//! How many records an instance has taken: in its run, and since the newest checkpoint.

/// Marks on the counter of an instance, which goes on across its runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// When its run began.
    run: u64,
    /// When the last checkpoint was triggered. Its barrier comes later.
    trigger: u64,
    /// When the newest checkpoint that is there was triggered.
    checkpoint: u64,
}

impl Marks {
    pub(super) fn run_begins(&mut self, counted: u64) {
        self.run = counted;
    }

    pub(super) fn checkpoint_begins(&mut self, counted: u64) {
        self.trigger = counted;
    }

    /// The checkpoint that began last is there, and the instance took part in it.
    pub(super) fn checkpoint_is_there(&mut self) {
        self.checkpoint = self.trigger;
    }

    /// Records of this run.
    pub(super) fn since_run(&self, counted: u64) -> u64 {
        counted.saturating_sub(self.run)
    }

    /// Records since the checkpoint that the next run begins with, or a few more.
    pub(super) fn since_checkpoint(&self, counted: u64) -> u64 {
        counted.saturating_sub(self.run.max(self.checkpoint))
    }

    /// Records of this run that the newest checkpoint covers, or a few less.
    pub(super) fn of_run_before_checkpoint(&self) -> u64 {
        self.checkpoint.saturating_sub(self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_from_the_newest_checkpoint_or_the_run_whichever_is_later() {
        let mut marks = Marks::default();
        assert_eq!(marks.since_checkpoint(70), 70);
        marks.checkpoint_begins(100);
        assert_eq!((marks.since_checkpoint(150), marks.of_run_before_checkpoint()), (150, 0));
        marks.checkpoint_is_there();
        assert_eq!((marks.since_checkpoint(150), marks.of_run_before_checkpoint()), (50, 100));
        assert_eq!(marks.since_run(150), 150);
        marks.run_begins(150);
        assert_eq!((marks.since_checkpoint(160), marks.of_run_before_checkpoint()), (10, 0));
        marks.checkpoint_begins(170);
        marks.checkpoint_is_there();
        assert_eq!((marks.since_checkpoint(175), marks.of_run_before_checkpoint()), (5, 20));
    }
}
