//! Reading a value.

use std::io;
use std::str;

use rmp::Marker;
use rmp_serde::decode::Error;
use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::MAX_DEPTH;
use super::mark::{self, NIL, RESERVED};
use super::stack::{LEVELS, with_room};

/// So many options may be nested in one another, with whatever else is between them.
pub(super) const SOMES_MAX: u16 = 4 * MAX_DEPTH;

/// Reads a value from the front of some bytes.
pub(super) struct Reader<'de> {
    input: &'de [u8],
    depth: u16,
    somes: u16,
    for_people: bool,
}

/// Whether a visitor takes bytes as they are, or as a sequence of numbers.
#[derive(Clone, Copy)]
enum Bytes {
    Whole,
    Numbers,
}

impl<'de> Reader<'de> {
    pub(super) fn new(input: &'de [u8]) -> Self {
        let mut reader = Self::bare(input);
        reader.take_mark(mark::FOR_PEOPLE);
        reader
    }

    /// Of what has its mark still before it.
    pub(super) fn bare(input: &'de [u8]) -> Self {
        Self { input, depth: 0, somes: 0, for_people: false }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'de [u8] {
        self.input
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        let (first, rest) = self.input.split_first().ok_or_else(no_marker)?;
        self.input = rest;
        Ok(*first)
    }

    #[inline]
    fn number<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (number, rest) = self.input.split_first_chunk().ok_or_else(cut_off)?;
        self.input = rest;
        Ok(*number)
    }

    #[inline]
    fn slice(&mut self, len: usize) -> Result<&'de [u8], Error> {
        let (slice, rest) = self.input.split_at_checked(len).ok_or_else(cut_off)?;
        self.input = rest;
        Ok(slice)
    }

    #[inline]
    fn take_mark(&mut self, mark: u8) -> bool {
        if let [RESERVED, found, rest @ ..] = self.input
            && *found == mark
        {
            self.input = rest;
            if mark == mark::FOR_PEOPLE {
                self.for_people = true;
            }
            return true;
        }
        false
    }

    #[inline]
    fn enter(&mut self) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::DepthLimitExceeded);
        }
        self.depth += 1;
        Ok(())
    }

    #[inline]
    fn nested<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        if self.depth.is_multiple_of(LEVELS) {
            with_room(|| seed.deserialize(&mut *self))
        } else {
            seed.deserialize(&mut *self)
        }
    }

    #[inline]
    fn some<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        if self.somes == SOMES_MAX {
            return Err(Error::DepthLimitExceeded);
        }
        self.somes += 1;
        let value = if self.somes.is_multiple_of(LEVELS) {
            with_room(|| visitor.visit_some(&mut *self))?
        } else {
            visitor.visit_some(&mut *self)?
        };
        self.somes -= 1;
        Ok(value)
    }

    /// Shows whatever comes.
    fn any<V: Visitor<'de>>(&mut self, visitor: V, bytes: Bytes) -> Result<V::Value, Error> {
        let start = self.input;
        match Marker::from_u8(self.byte()?) {
            Marker::Null => visitor.visit_unit(),
            Marker::True => visitor.visit_bool(true),
            Marker::False => visitor.visit_bool(false),
            Marker::FixPos(value) => visitor.visit_u8(value),
            Marker::FixNeg(value) => visitor.visit_i8(value),
            Marker::U8 => visitor.visit_u8(u8::from_be_bytes(self.number()?)),
            Marker::U16 => visitor.visit_u16(u16::from_be_bytes(self.number()?)),
            Marker::U32 => visitor.visit_u32(u32::from_be_bytes(self.number()?)),
            Marker::U64 => visitor.visit_u64(u64::from_be_bytes(self.number()?)),
            Marker::I8 => visitor.visit_i8(i8::from_be_bytes(self.number()?)),
            Marker::I16 => visitor.visit_i16(i16::from_be_bytes(self.number()?)),
            Marker::I32 => visitor.visit_i32(i32::from_be_bytes(self.number()?)),
            Marker::I64 => visitor.visit_i64(i64::from_be_bytes(self.number()?)),
            Marker::F32 => visitor.visit_f32(f32::from_be_bytes(self.number()?)),
            Marker::F64 => visitor.visit_f64(f64::from_be_bytes(self.number()?)),
            marker @ (Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32) => {
                let len = self.len(marker)?;
                text(self.slice(len)?, visitor)
            }
            marker @ (Marker::FixArray(_) | Marker::Array16 | Marker::Array32) => {
                let len = self.len(marker)?;
                self.array(len, visitor)
            }
            marker @ (Marker::FixMap(_) | Marker::Map16 | Marker::Map32) => {
                let len = self.len(marker)?;
                self.map(len, visitor)
            }
            marker @ (Marker::Bin8 | Marker::Bin16 | Marker::Bin32) => {
                let len = self.len(marker)?;
                let slice = self.slice(len)?;
                match bytes {
                    Bytes::Whole => visitor.visit_borrowed_bytes(slice),
                    Bytes::Numbers => visitor.visit_seq(SeqDeserializer::new(slice.iter().copied())),
                }
            }
            Marker::Reserved => {
                self.input = start;
                if self.take_mark(mark::SOME) {
                    self.some(visitor)
                } else if self.take_mark(mark::FOR_PEOPLE) && self.input.first() != Some(&RESERVED) {
                    self.any(visitor, bytes)
                } else {
                    Err(Error::TypeMismatch(Marker::Reserved))
                }
            }
            _ => self.extension(start, |reader| reader.deserialize_any(visitor)),
        }
    }

    /// Leaves an extension type to who knows of it.
    fn extension<R>(
        &mut self,
        start: &'de [u8],
        read: impl FnOnce(&mut rmp_serde::Deserializer<rmp_serde::decode::ReadReader<&[u8]>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut reader = rmp_serde::Deserializer::new(start);
        let value = read(&mut reader);
        self.input = &start[start.len() - reader.get_ref().len()..];
        value
    }

    /// The length behind a marker that has one: of bytes, elements or entries.
    #[inline]
    fn len(&mut self, marker: Marker) -> Result<usize, Error> {
        Ok(match marker {
            Marker::FixStr(len) | Marker::FixArray(len) | Marker::FixMap(len) => len.into(),
            Marker::Str8 | Marker::Bin8 => u8::from_be_bytes(self.number()?).into(),
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 => {
                u16::from_be_bytes(self.number()?).into()
            }
            _ => u32::from_be_bytes(self.number()?) as usize,
        })
    }

    fn array<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.enter()?;
        let mut items = Items { reader: self, left: len };
        let value = visitor.visit_seq(&mut items)?;
        let left = items.left;
        self.depth -= 1;
        if left == 0 { Ok(value) } else { Err(Error::LengthMismatch((len - left) as u32)) }
    }

    fn map<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.enter()?;
        let mut items = Items { reader: self, left: len };
        let value = visitor.visit_map(&mut items)?;
        let left = items.left;
        self.depth -= 1;
        if left == 0 { Ok(value) } else { Err(Error::LengthMismatch((len - left) as u32)) }
    }

    fn wide(&mut self) -> Result<i128, Error> {
        Ok(match Marker::from_u8(self.byte()?) {
            Marker::FixPos(value) => value.into(),
            Marker::FixNeg(value) => value.into(),
            Marker::U8 => u8::from_be_bytes(self.number()?).into(),
            Marker::U16 => u16::from_be_bytes(self.number()?).into(),
            Marker::U32 => u32::from_be_bytes(self.number()?).into(),
            Marker::U64 => u64::from_be_bytes(self.number()?).into(),
            Marker::I8 => i8::from_be_bytes(self.number()?).into(),
            Marker::I16 => i16::from_be_bytes(self.number()?).into(),
            Marker::I32 => i32::from_be_bytes(self.number()?).into(),
            Marker::I64 => i64::from_be_bytes(self.number()?).into(),
            Marker::Bin8 if self.byte()? == 16 => i128::from_be_bytes(self.number()?),
            Marker::Bin8 => return Err(Error::LengthMismatch(16)),
            marker => return Err(Error::TypeMismatch(marker)),
        })
    }

    /// Goes past a value, whatever it is and however deep.
    fn skip(&mut self) -> Result<(), Error> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            left += self.skip_head()?;
        }
        Ok(())
    }

    /// Goes past what a value has besides other values, and returns how many of those follow.
    pub(super) fn skip_head(&mut self) -> Result<u64, Error> {
        let marker = Marker::from_u8(self.byte()?);
        let bytes = match marker {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => usize::from(u8::from_be_bytes(self.number()?)) + 1,
            Marker::Ext16 => usize::from(u16::from_be_bytes(self.number()?)) + 1,
            Marker::Ext32 => u32::from_be_bytes(self.number()?) as usize + 1,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => return Ok(self.len(marker)? as u64),
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => return Ok(2 * self.len(marker)? as u64),
            Marker::Reserved => match self.byte()? {
                mark::SOME | mark::FOR_PEOPLE => return Ok(1),
                _ => return Err(Error::TypeMismatch(marker)),
            },
            _ => self.len(marker)?,
        };
        self.slice(bytes).map(|_| 0)
    }
}

#[cold]
fn no_marker() -> Error {
    Error::InvalidMarkerRead(io::ErrorKind::UnexpectedEof.into())
}

#[cold]
fn cut_off() -> Error {
    Error::InvalidDataRead(io::ErrorKind::UnexpectedEof.into())
}

/// Text; what is none is shown as bytes.
#[inline]
fn text<'de, V: Visitor<'de>>(bytes: &'de [u8], visitor: V) -> Result<V::Value, Error> {
    match str::from_utf8(bytes) {
        Ok(text) => visitor.visit_borrowed_str(text),
        Err(error) => visitor.visit_borrowed_bytes::<Error>(bytes).map_err(|_| Error::Utf8Error(error)),
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.for_people
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.any(visitor, Bytes::Whole)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit map identifier
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i128(self.wide()?)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u128(self.wide()? as u128)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.input.first() {
            None => Err(no_marker()),
            Some(&NIL) => {
                self.input = &self.input[1..];
                visitor.visit_none()
            }
            Some(&RESERVED) => {
                self.take_mark(mark::SOME);
                self.some(visitor)
            }
            Some(_) => self.some(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Versions before wrote it as an empty array, which is a sequence to everybody else.
        match self.input.first().map(|first| Marker::from_u8(*first)) {
            Some(Marker::Null | Marker::FixArray(0)) => {
                self.input = &self.input[1..];
                visitor.visit_unit()
            }
            _ => self.any(visitor, Bytes::Whole),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            return self.extension(self.input, |reader| reader.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.any(visitor, Bytes::Numbers)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.any(visitor, Bytes::Numbers)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.any(visitor, Bytes::Numbers)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.any(visitor, Bytes::Numbers)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let start = self.input;
        match Marker::from_u8(self.byte()?) {
            // With what it holds, behind its name.
            Marker::FixMap(1) | Marker::FixArray(1) => visitor.visit_enum(Variant { reader: self }),
            marker @ (Marker::FixMap(_)
            | Marker::FixArray(_)
            | Marker::Map16
            | Marker::Map32
            | Marker::Array16
            | Marker::Array32) => Err(Error::LengthMismatch(self.len(marker)? as u32)),
            _ => {
                self.input = start;
                visitor.visit_enum(UnitVariant { reader: self })
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }
}

/// What is left of a sequence or map.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.reader.nested(seed).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.input.len()))
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.reader.nested(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        de::SeqAccess::size_hint(self)
    }
}

/// A variant that holds something.
struct Variant<'r, 'de> {
    reader: &'r mut Reader<'de>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        Ok((seed.deserialize(&mut *self.reader)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.reader.byte()? {
            NIL => Ok(()),
            other => Err(Error::TypeMismatch(Marker::from_u8(other))),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.reader.enter()?;
        let value = self.reader.nested(seed)?;
        self.reader.depth -= 1;
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.reader.any(visitor, Bytes::Numbers)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.reader.any(visitor, Bytes::Numbers)
    }
}

/// A variant that holds nothing: its name alone.
struct UnitVariant<'r, 'de> {
    reader: &'r mut Reader<'de>,
}

impl<'de> de::EnumAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        Ok((seed.deserialize(&mut *self.reader)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Error> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"struct variant"))
    }
}
