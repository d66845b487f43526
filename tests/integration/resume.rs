//! Starting again, on real disks and on simulated ones: where a job goes on, and what it leaves behind.

mod folders;
mod histories;
mod lives;
