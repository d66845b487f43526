//! Sources that come with the engine.
//!
//! | reads | source | ends | exact after a crash |
//! |---|---|---|---|
//! | lines of files | [`Lines`] | yes | yes |
//! | lines of a TCP connection | [`SocketLines`] | no, unless told to when the peer closes | no: what was in flight is lost |
//! | an iterator | [`Items`] | yes | yes |
//! | a function of 0, 1, 2, … | [`Generator`] | if bounded | yes |

mod cutter;
mod generator;
mod items;
mod lines;
mod socket_lines;
#[cfg(test)]
pub(crate) mod testing;
mod window;

pub use cutter::InvalidUtf8;
pub use generator::{Generator, GeneratorReader, GeneratorSplit};
pub use items::{Items, ItemsReader, ItemsSplit};
pub use lines::{Lines, LinesReader, LinesSplit};
pub use socket_lines::{SocketLines, SocketLinesReader, SocketLinesSplit};
