//! Writing a value.

use std::cell::Cell;

use rmp::encode as msgpack;
use rmp_serde::encode::Error;
use serde::ser::{self, Serialize, Serializer};

use super::mark::{self, NIL, RESERVED};
use super::stack::{LEVELS, with_room};
use super::{MAX_DEPTH, read::SOMES_MAX};
use crate::bug::{self, Bug};

/// Appends a value to a buffer.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Levels that are nested in one another here.
    depth: u16,
    /// Options that are.
    somes: u16,
    asked: Cell<bool>,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, depth: 0, somes: 0, asked: Cell::new(false) }
    }

    /// Whether the value asked if the format is for people.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.get()
    }

    #[inline]
    fn enter(&mut self) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        Ok(())
    }

    #[inline]
    fn nested<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if self.depth.is_multiple_of(LEVELS) {
            with_room(|| value.serialize(&mut *self))
        } else {
            value.serialize(&mut *self)
        }
    }

    #[inline]
    fn compound<'w>(&'w mut self, kind: Kind, len: Option<usize>) -> Result<Compound<'w, 'o>, Error> {
        self.enter()?;
        let start = self.out.len();
        if let Some(len) = len {
            kind.write_len(len, self.out)?;
        }
        Ok(Compound { writer: self, kind, announced: len, written: 0, start })
    }

    fn variant(&mut self, name: &str) -> Result<(), Error> {
        msgpack::write_map_len(self.out, 1)?;
        self.str(name)
    }

    #[inline]
    fn str(&mut self, text: &str) -> Result<(), Error> {
        check_len(text.len())?;
        Ok(msgpack::write_str(self.out, text)?)
    }
}

#[cold]
fn too_deep() -> Error {
    Error::Syntax(format!(
        "it is nested more than {MAX_DEPTH} levels deep, and could not be read back; keep what is nested so deep flat, as a \
         list of nodes that refer to one another by their index"
    ))
}

#[inline]
fn check_len(len: usize) -> Result<u32, Error> {
    u32::try_from(len).map_err(|_| {
        Error::Syntax(format!("something in it has {len} bytes or elements, and 4,294,967,295 are the most"))
    })
}

/// Something of several values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Map,
}

impl Kind {
    fn write_len(self, len: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let len = check_len(len)?;
        match self {
            Self::Array => msgpack::write_array_len(out, len)?,
            Self::Map => msgpack::write_map_len(out, len)?,
        };
        Ok(())
    }
}

/// Something of several values in the making.
pub(super) struct Compound<'w, 'o> {
    writer: &'w mut Writer<'o>,
    kind: Kind,
    /// Elements or entries that there are to be, where that was known.
    announced: Option<usize>,
    written: usize,
    start: usize,
}

impl Compound<'_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.written += 1;
        self.writer.nested(value)
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        self.writer.str(name)?;
        self.element(value)
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        let Self { writer, kind, announced, written, start } = self;
        writer.depth -= 1;
        match announced {
            Some(announced) if announced == written => Ok(()),
            Some(announced) => Err(other_length(announced, written)),
            None => {
                let end = writer.out.len();
                kind.write_len(written, writer.out)?;
                let header = writer.out.len() - end;
                writer.out[start..].rotate_right(header);
                Ok(())
            }
        }
    }
}

#[cold]
fn other_length(announced: usize, written: usize) -> Error {
    Error::Syntax(format!("its Serialize says that {announced} elements come, and {written} do"))
}

impl<'w, 'o> Serializer for &'w mut Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'w, 'o>;
    type SerializeTuple = Compound<'w, 'o>;
    type SerializeTupleStruct = Compound<'w, 'o>;
    type SerializeTupleVariant = Compound<'w, 'o>;
    type SerializeMap = Compound<'w, 'o>;
    type SerializeStruct = Compound<'w, 'o>;
    type SerializeStructVariant = Compound<'w, 'o>;

    fn is_human_readable(&self) -> bool {
        self.asked.set(true);
        true
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.push(if value { 0xc3 } else { 0xc2 });
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        msgpack::write_sint(self.out, value)?;
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Error> {
        self.serialize_bytes(&value.to_be_bytes())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        msgpack::write_uint(self.out, value)?;
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), Error> {
        self.serialize_bytes(&value.to_be_bytes())
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        Ok(msgpack::write_f32(self.out, value)?)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        Ok(msgpack::write_f64(self.out, value)?)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.str(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        check_len(value.len())?;
        Ok(msgpack::write_bin(self.out, value)?)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        if self.somes == SOMES_MAX {
            return Err(too_deep());
        }
        self.somes += 1;
        let start = self.out.len();
        if self.somes.is_multiple_of(LEVELS) {
            with_room(|| value.serialize(&mut *self))?;
        } else {
            value.serialize(&mut *self)?;
        }
        self.somes -= 1;
        if matches!(self.out.get(start), Some(&(NIL | RESERVED))) && !bug::is(Bug::SomeNoneNotMarked) {
            mark::insert(mark::SOME, start, self.out);
        }
        Ok(())
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        self.out.push(NIL);
        Ok(())
    }

    /// As `()`, as which serde looks for it where it has buffered it.
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        if name == rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            let mut extension = rmp_serde::Serializer::new(&mut *self.out);
            return extension.serialize_newtype_struct(name, value);
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        self.enter()?;
        self.nested(value)?;
        self.depth -= 1;
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'w, 'o>, Error> {
        self.compound(Kind::Array, len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Compound<'w, 'o>, Error> {
        self.compound(Kind::Array, Some(len))
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Compound<'w, 'o>, Error> {
        self.compound(Kind::Array, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'w, 'o>, Error> {
        self.variant(variant)?;
        self.compound(Kind::Array, Some(len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'w, 'o>, Error> {
        self.compound(Kind::Map, len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Compound<'w, 'o>, Error> {
        self.compound(Kind::Map, Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'w, 'o>, Error> {
        self.variant(variant)?;
        self.compound(Kind::Map, Some(len))
    }
}

macro_rules! elements {
    ($($of:ident: $one:ident),*) => {$(
        impl ser::$of for Compound<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $one<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )*};
}

elements! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
}

macro_rules! fields {
    ($($of:ident),*) => {$(
        impl ser::$of for Compound<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.field(name, value)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.writer.nested(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}
