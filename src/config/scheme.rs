//! Reads a scheme of one's own out of the tree.
//!
//! The scheme language is `verify`'s, given as serde types; this hands it the
//! tree, and finds the place of what does not fit. It stops at a scheme's
//! first error.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
    value::StringDeserializer,
};

use super::{
    problem::{Origin, Place, Problems},
    written::{Keys, Kind, Node},
};

/// Reads a node as any serde type.
pub(super) fn read<T: DeserializeOwned>(
    node: Node,
    place: &Place,
    problems: &Problems,
) -> Option<T> {
    let section = (place.clone(), node.origin.clone());
    match T::deserialize(Reader(node, place.clone())) {
        Ok(value) => Some(value),
        Err(Misfit { at, what }) => {
            let (place, origin) = at.unwrap_or(section);
            problems.add(&place, &origin, what);
            None
        }
    }
}

/// A node at its place.
struct Reader(Node, Place);

/// What does not fit, and where.
#[derive(Debug)]
struct Misfit {
    at: Option<(Place, Origin)>,
    what: String,
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self {
            at: None,
            what: what.to_string(),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Misfit {}

impl Reader {
    /// Gives a value to serde, and its place to the error if that fails.
    fn visit<T>(self, visit: impl FnOnce(Kind, &Place) -> Result<T, Misfit>) -> Result<T, Misfit> {
        let Self(Node { kind, origin }, place) = self;
        let hidden = matches!(kind, Kind::Untyped { hidden: true, .. });
        visit(kind, &place).map_err(|misfit| match misfit {
            Misfit { at: None, .. } if hidden => Misfit {
                at: Some((place, origin)),
                what: "what this points to does not fit here".to_owned(),
            },
            Misfit { at: None, what } => Misfit {
                at: Some((place, origin)),
                what,
            },
            misfit => misfit,
        })
    }
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.visit(|kind, place| match kind {
            Kind::Text(text) | Kind::Untyped { text, .. } => visitor.visit_string(text),
            Kind::Integer(number) => visitor.visit_i64(number),
            Kind::Boolean(yes) => visitor.visit_bool(yes),
            Kind::List(items) => visitor.visit_seq(Items::new(items, place.clone())),
            Kind::Table(keys) => match counts_from_zero(&keys) {
                true => visitor.visit_seq(Items::new(keys.into_values().collect(), place.clone())),
                false => visitor.visit_map(Fields::new(keys, place.clone())),
            },
            Kind::Foreign(form) => Err(de::Error::custom(format_args!("{form} does not fit here"))),
            Kind::Unreadable => Err(de::Error::custom("this could not be read")),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.kind {
            Kind::Untyped { text, .. } => match text.parse() {
                Ok(yes) => self.visit(|_, _| visitor.visit_bool(yes)),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.kind {
            Kind::Untyped { text, .. } => match text.parse() {
                Ok(number) => self.visit(|_, _| visitor.visit_u64(number)),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// A word, or a section with one key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.visit(|kind, place| match kind {
            Kind::Text(text) | Kind::Untyped { text, .. } => {
                visitor.visit_enum(text.into_deserializer())
            }
            Kind::Table(keys) if keys.len() == 1 => visitor.visit_enum(
                de::value::MapAccessDeserializer::new(Fields::new(keys, place.clone())),
            ),
            _ => Err(de::Error::custom("this is a word, or a section of one key")),
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Whether the environment spelled a list here.
fn counts_from_zero(keys: &Keys) -> bool {
    // Nothing in a scheme has more items than digits, so that order by text
    // is order by number.
    !keys.is_empty()
        && keys.len() <= 10
        && keys
            .keys()
            .enumerate()
            .all(|(i, key)| *key == i.to_string())
}

struct Items {
    place: Place,
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
}

impl Items {
    fn new(items: Vec<Node>, place: Place) -> Self {
        let items = items.into_iter().enumerate();
        Self { place, items }
    }
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Misfit;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, item)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader(item, self.place.item(index)))
            .map(Some)
    }
}

struct Fields {
    place: Place,
    fields: std::collections::btree_map::IntoIter<String, Node>,
    pending: Option<(String, Node)>,
}

impl Fields {
    fn new(keys: Keys, place: Place) -> Self {
        Self {
            place,
            fields: keys.into_iter(),
            pending: None,
        }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Misfit;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        let Some((key, node)) = self.fields.next() else {
            return Ok(None);
        };
        let deserializer: StringDeserializer<Misfit> = key.clone().into_deserializer();
        let known = seed.deserialize(deserializer).map_err(|misfit| Misfit {
            at: Some((self.place.key(&key), node.origin.clone())),
            ..misfit
        })?;
        self.pending = Some((key, node));
        Ok(Some(known))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Misfit> {
        match self.pending.take() {
            Some((key, node)) => seed.deserialize(Reader(node, self.place.key(&key))),
            None => Err(de::Error::custom("a value without its key")),
        }
    }
}
