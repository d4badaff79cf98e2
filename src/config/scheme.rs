//! Reads a scheme of one's own out of the tree.
//!
//! The scheme language is `verify`'s, given as serde types; this hands it the
//! tree, and finds the path of what does not fit. It stops at a scheme's
//! first error.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
    value::StringDeserializer,
};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    tree::{Node, Table, TreeValue},
};

/// Reads a node as any serde type.
pub(super) fn read<T: DeserializeOwned>(
    node: Node,
    path: &KeyPath,
    diagnostics: &Diagnostics,
) -> Option<T> {
    let section = (path.clone(), node.location.clone());
    match T::deserialize(NodeDeserializer(node, path.clone())) {
        Ok(value) => Some(value),
        Err(DeError { at, what }) => {
            let (path, location) = at.unwrap_or(section);
            diagnostics.add(&path, &location, what);
            None
        }
    }
}

/// A node at its path.
struct NodeDeserializer(Node, KeyPath);

/// What does not fit, and where.
#[derive(Debug)]
struct DeError {
    at: Option<(KeyPath, Location)>,
    what: String,
}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self {
            at: None,
            what: what.to_string(),
        }
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for DeError {}

impl NodeDeserializer {
    /// Gives a value to serde, and its path to the error if that fails.
    fn visit<T>(
        self,
        visit: impl FnOnce(TreeValue, &KeyPath) -> Result<T, DeError>,
    ) -> Result<T, DeError> {
        let Self(Node { kind, location }, path) = self;
        let hidden = matches!(kind, TreeValue::Untyped { hidden: true, .. });
        visit(kind, &path).map_err(|error| match error {
            DeError { at: None, .. } if hidden => DeError {
                at: Some((path, location)),
                what: "what this points to does not fit here".to_owned(),
            },
            DeError { at: None, what } => DeError {
                at: Some((path, location)),
                what,
            },
            error => error,
        })
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.visit(|kind, path| match kind {
            TreeValue::Text(text) | TreeValue::Untyped { text, .. } => visitor.visit_string(text),
            TreeValue::Integer(number) => visitor.visit_i64(number),
            TreeValue::Boolean(yes) => visitor.visit_bool(yes),
            TreeValue::List(items) => visitor.visit_seq(Items::new(items, path.clone())),
            TreeValue::Table(keys) => match counts_from_zero(&keys) {
                true => visitor.visit_seq(Items::new(keys.into_values().collect(), path.clone())),
                false => visitor.visit_map(Fields::new(keys, path.clone())),
            },
            TreeValue::Foreign(form) => {
                Err(de::Error::custom(format_args!("{form} does not fit here")))
            }
            TreeValue::Unreadable => Err(de::Error::custom("this could not be read")),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            TreeValue::Untyped { text, .. } => match text.parse() {
                Ok(yes) => self.visit(|_, _| visitor.visit_bool(yes)),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            TreeValue::Untyped { text, .. } => match text.parse() {
                Ok(number) => self.visit(|_, _| visitor.visit_u64(number)),
                Err(_) => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    /// A word, or a section with one key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.visit(|kind, path| match kind {
            TreeValue::Text(text) | TreeValue::Untyped { text, .. } => {
                visitor.visit_enum(text.into_deserializer())
            }
            TreeValue::Table(keys) if keys.len() == 1 => visitor.visit_enum(
                de::value::MapAccessDeserializer::new(Fields::new(keys, path.clone())),
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
fn counts_from_zero(keys: &Table) -> bool {
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
    path: KeyPath,
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
}

impl Items {
    fn new(items: Vec<Node>, path: KeyPath) -> Self {
        let items = items.into_iter().enumerate();
        Self { path, items }
    }
}

impl<'de> SeqAccess<'de> for Items {
    type Error = DeError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DeError> {
        let Some((index, item)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(NodeDeserializer(item, self.path.item(index)))
            .map(Some)
    }
}

struct Fields {
    path: KeyPath,
    fields: std::collections::btree_map::IntoIter<String, Node>,
    pending: Option<(String, Node)>,
}

impl Fields {
    fn new(keys: Table, path: KeyPath) -> Self {
        Self {
            path,
            fields: keys.into_iter(),
            pending: None,
        }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = DeError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DeError> {
        let Some((key, node)) = self.fields.next() else {
            return Ok(None);
        };
        let deserializer: StringDeserializer<DeError> = key.clone().into_deserializer();
        let known = seed.deserialize(deserializer).map_err(|error| DeError {
            at: Some((self.path.key(&key), node.location.clone())),
            ..error
        })?;
        self.pending = Some((key, node));
        Ok(Some(known))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DeError> {
        match self.pending.take() {
            Some((key, node)) => seed.deserialize(NodeDeserializer(node, self.path.key(&key))),
            None => Err(de::Error::custom("a value without its key")),
        }
    }
}
