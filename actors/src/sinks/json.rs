//! Records as JSON that can be read back.
//!
//! JSON has no NaN and no infinities, and `serde_json` writes `null` for them, which is no number when it is read. So
//! they are refused, with the place of the value in the record. Nothing is added to the way of a record that has none
//! but a look at each float.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt::{self, Display};

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Why a record is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// It holds a number that JSON does not have.
    #[error(
        "{}is {value}, which JSON does not have: it would be written as `null` and could not be read back; leave the field out \
         (an `Option` with `skip_serializing_if`), write it as text, or clean it before the sink",
        Of(at)
    )]
    NotFinite {
        /// Where it is in the record, as `prices[2]`; empty if the record is the number.
        at: String,
        value: f64,
    },
    /// Its `Serialize` does not fit.
    #[error("cannot write a record as JSON; its Serialize must fit JSON, where keys of maps are strings")]
    Json(#[source] serde_json::Error),
}

struct Of<'a>(&'a str);

impl Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("the record ") } else { write!(f, "`{}` of a record ", self.0) }
    }
}

/// Adds a record as JSON on one line, and nothing of it if that fails.
///
/// # Errors
/// If it holds a float that is NaN or infinite, or its `Serialize` does not fit JSON.
pub(crate) fn json_into(bytes: &mut Vec<u8>, record: &impl Serialize) -> Result<(), JsonError> {
    let (trail, before) = (Trail::default(), bytes.len());
    let inner = &mut serde_json::Serializer::new(&mut *bytes);
    record.serialize(Finite { inner, trail: &trail }).map_err(|error| {
        bytes.truncate(before);
        trail.error(error)
    })
}

/// Filled from the inside out by a value that fails, on its way back.
#[derive(Default)]
struct Trail(RefCell<Found>);

#[derive(Default)]
struct Found {
    value: Option<f64>,
    /// The innermost comes first.
    steps: Vec<Step>,
}

enum Step {
    Field(&'static str),
    Index(usize),
    /// In a map, whose keys are only known to their serializer.
    Value,
}

impl Trail {
    #[cold]
    fn not_finite<E: serde::ser::Error>(&self, value: f64) -> E {
        self.0.borrow_mut().value = Some(value);
        E::custom("a number that JSON does not have")
    }

    #[cold]
    fn step<E>(&self, step: Step, error: E) -> E {
        self.0.borrow_mut().steps.push(step);
        error
    }

    fn error(self, error: serde_json::Error) -> JsonError {
        let Found { value, steps } = self.0.into_inner();
        let Some(value) = value else { return JsonError::Json(error) };
        let mut at = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Field(name) if at.is_empty() => at.push_str(name),
                Step::Field(name) => at.extend([".", name]),
                Step::Index(index) => at.extend(["[", &index.to_string(), "]"]),
                Step::Value => at.push_str("[…]"),
            }
        }
        JsonError::NotFinite { at, value }
    }
}

/// A value whose floats are looked at.
struct Checked<'a, T: ?Sized>(&'a T, &'a Trail);

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Finite { inner: serializer, trail: self.1 })
    }
}

/// A serializer that refuses floats which are no numbers of JSON.
struct Finite<'t, S> {
    inner: S,
    trail: &'t Trail,
}

/// What is written piece by piece.
struct Pieces<'t, C> {
    inner: C,
    trail: &'t Trail,
    written: usize,
}

impl<'t, S> Finite<'t, S> {
    fn pieces<C, E>(trail: &'t Trail, inner: Result<C, E>) -> Result<Pieces<'t, C>, E> {
        inner.map(|inner| Pieces { inner, trail, written: 0 })
    }
}

macro_rules! pass {
    ($($method:ident($kind:ty),)*) => {
        $(fn $method(self, value: $kind) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

macro_rules! pieces {
    ($($method:ident($($name:ident: $kind:ty),*) -> $compound:ident,)*) => {
        $(fn $method(self, $($name: $kind),*) -> Result<Self::$compound, S::Error> {
            Self::pieces(self.trail, self.inner.$method($($name),*))
        })*
    };
}

impl<'t, S: Serializer> Serializer for Finite<'t, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Pieces<'t, S::SerializeSeq>;
    type SerializeTuple = Pieces<'t, S::SerializeTuple>;
    type SerializeTupleStruct = Pieces<'t, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Pieces<'t, S::SerializeTupleVariant>;
    type SerializeMap = Pieces<'t, S::SerializeMap>;
    type SerializeStruct = Pieces<'t, S::SerializeStruct>;
    type SerializeStructVariant = Pieces<'t, S::SerializeStructVariant>;

    pass! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_i128(i128), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_u128(u128), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    }

    pieces! {
        serialize_seq(len: Option<usize>) -> SerializeSeq,
        serialize_tuple(len: usize) -> SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct,
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant,
        serialize_map(len: Option<usize>) -> SerializeMap,
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct,
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant,
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            self.inner.serialize_f32(value)
        } else {
            Err(self.trail.not_finite(f64::from(value)))
        }
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        if value.is_finite() { self.inner.serialize_f64(value) } else { Err(self.trail.not_finite(value)) }
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Checked(value, self.trail))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Checked(value, self.trail))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let written = self.inner.serialize_newtype_variant(name, index, variant, &Checked(value, self.trail));
        written.map_err(|error| self.trail.step(Step::Field(variant), error))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($compound:ident::$method:ident,)*) => {
        $(impl<C: $compound> $compound for Pieces<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let written = self.inner.$method(&Checked(value, self.trail));
                self.written += 1;
                written.map_err(|error| self.trail.step(Step::Index(self.written - 1), error))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! fields {
    ($($compound:ident,)*) => {
        $(impl<C: $compound> $compound for Pieces<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let written = self.inner.serialize_field(name, &Checked(value, self.trail));
                written.map_err(|error| self.trail.step(Step::Field(name), error))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

fields! { SerializeStruct, SerializeStructVariant, }

impl<C: SerializeMap> SerializeMap for Pieces<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        // A key that is a float is refused by the format.
        self.inner.serialize_key(&Checked(key, self.trail))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let written = self.inner.serialize_value(&Checked(value, self.trail));
        written.map_err(|error| self.trail.step(Step::Value, error))
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
