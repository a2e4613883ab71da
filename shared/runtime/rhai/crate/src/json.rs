//! JSON and Rhai's values. Integers keep all 64 bits; the keys of a map come in order.

use std::fmt;

use rhai::{Array, Dynamic, Map, FLOAT, INT};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error, Serialize, Serializer};

/// As deep as serde_json reads.
const DEPTH_MAX: u32 = 127;

/// Fails with a text that has the place of the error.
pub fn read(text: &[u8]) -> Result<Dynamic, String> {
    serde_json::from_slice(text).map(|Read(value)| value).map_err(|error| error.to_string())
}

/// Fails for what has no such form: functions, ranges, numbers that are not finite.
pub fn write(value: &Dynamic) -> Result<Vec<u8>, String> {
    let value = Written { value, depth: 0 };
    serde_json::to_vec(&value).map_err(|error| error.to_string())
}

pub fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON is UTF-8")
}

struct Read(Dynamic);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ReadVisitor).map(Read)
    }
}

struct ReadVisitor;

impl<'de> Visitor<'de> for ReadVisitor {
    type Value = Dynamic;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Dynamic, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Dynamic, E> {
        Ok(value.into())
    }

    /// An integer beyond 64 bits with sign becomes a float, as larger ones do.
    fn visit_u64<E>(self, value: u64) -> Result<Dynamic, E> {
        Ok(INT::try_from(value).map_or_else(|_| Dynamic::from_float(value as FLOAT), Dynamic::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Dynamic, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Dynamic, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Dynamic, A::Error> {
        let mut array = Array::new();
        while let Some(Read(value)) = from.next_element()? {
            array.push(value);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some((key, Read(value))) = from.next_entry::<String, Read>()? {
            map.insert(key.into(), value);
        }
        Ok(map.into())
    }
}

struct Written<'a> {
    value: &'a Dynamic,
    depth: u32,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Written { value, depth } = *self;
        // Values that closures share may contain themselves.
        if depth > DEPTH_MAX {
            return Err(S::Error::custom(format!("a value is nested deeper than {DEPTH_MAX}")));
        }
        let within = |value| Written { value, depth: depth + 1 };
        if value.is_unit() {
            to.serialize_unit()
        } else if let Ok(value) = value.as_bool() {
            to.serialize_bool(value)
        } else if let Ok(value) = value.as_int() {
            to.serialize_i64(value)
        } else if let Some(byte) = value.read_lock::<u8>() {
            // Iterating over a blob gives bytes, which are another type than integers.
            to.serialize_u8(*byte)
        } else if let Ok(value) = value.as_float() {
            match value.is_finite() {
                true => to.serialize_f64(value),
                false => Err(S::Error::custom(format!("{value} has no form in JSON"))),
            }
        } else if let Ok(value) = value.as_char() {
            to.serialize_char(value)
        } else if let Ok(text) = value.as_immutable_string_ref() {
            to.serialize_str(&text)
        } else if let Ok(bytes) = value.as_blob_ref() {
            to.collect_seq(bytes.iter())
        } else if let Ok(array) = value.as_array_ref() {
            to.collect_seq(array.iter().map(within))
        } else if let Ok(map) = value.as_map_ref() {
            to.collect_map(map.iter().map(|(key, value)| (key.as_str(), within(value))))
        } else {
            let name = value.type_name().rsplit("::").next().unwrap_or_default();
            Err(S::Error::custom(format!("a {name} has no form in JSON")))
        }
    }
}
