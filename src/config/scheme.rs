//! Reads a scheme of one's own from the tree.
//!
//! The scheme language is `hookrill_verify`'s, defined by its serde types. This
//! deserializes them from the tree, and finds the key that an error is about.
//! It stops at the first error of a scheme.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
    value::StringDeserializer,
};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    tree::{Node, Table, TreeValue},
};

/// Deserializes a node into any serde type.
pub(super) fn read<T: DeserializeOwned>(
    node: Node,
    path: &KeyPath,
    diagnostics: &Diagnostics,
) -> Option<T> {
    let whole = (path.clone(), node.location.clone());
    match T::deserialize(NodeDeserializer(node, path.clone())) {
        Ok(value) => Some(value),
        Err(DeError { at, message }) => {
            let (key, location) = at.unwrap_or(whole);
            diagnostics.report(&key, &location, message);
            None
        }
    }
}

/// Deserializes a node at its path.
struct NodeDeserializer(Node, KeyPath);

/// An error of serde, and the key that it is about.
#[derive(Debug)]
struct DeError {
    at: Option<(KeyPath, Location)>,
    message: String,
}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            at: None,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

impl NodeDeserializer {
    /// Gives the value to serde. Adds the path to the error if that fails.
    fn visit<T>(
        self,
        visit: impl FnOnce(TreeValue, &KeyPath) -> Result<T, DeError>,
    ) -> Result<T, DeError> {
        let Self(Node { value, location }, path) = self;
        let is_secret = matches!(value, TreeValue::Untyped { secret: true, .. });
        visit(value, &path).map_err(|error| match error {
            DeError { at: None, .. } if is_secret => DeError {
                at: Some((path, location)),
                message: "the value that env: or file: refers to is not valid here".to_owned(),
            },
            DeError { at: None, message } => DeError {
                at: Some((path, location)),
                message,
            },
            error => error,
        })
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.visit(|value, path| match value {
            TreeValue::Text(text) | TreeValue::Untyped { text, .. } => visitor.visit_string(text),
            TreeValue::Integer(integer) => visitor.visit_i64(integer),
            TreeValue::Boolean(boolean) => visitor.visit_bool(boolean),
            TreeValue::List(items) => visitor.visit_seq(ItemAccess::new(items, path.clone())),
            TreeValue::Table(table) if is_indexed_list(&table) => {
                visitor.visit_seq(ItemAccess::new(table.into_values().collect(), path.clone()))
            }
            TreeValue::Table(table) => visitor.visit_map(FieldAccess::new(table, path.clone())),
            TreeValue::Unsupported(form) => {
                Err(de::Error::custom(format_args!("{form} is not valid here")))
            }
            TreeValue::Invalid => Err(de::Error::custom("the value could not be read")),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.value {
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
        match &self.0.value {
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

    /// A word, or a section with a single key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.visit(|value, path| match value {
            TreeValue::Text(text) | TreeValue::Untyped { text, .. } => {
                visitor.visit_enum(text.into_deserializer())
            }
            TreeValue::Table(keys) if keys.len() == 1 => visitor.visit_enum(
                de::value::MapAccessDeserializer::new(FieldAccess::new(keys, path.clone())),
            ),
            _ => Err(de::Error::custom(
                "must be a word, or a section with a single key",
            )),
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Whether the environment has written a list here.
fn is_indexed_list(table: &Table) -> bool {
    // No list of a scheme has more than ten items, so that sorting by text and
    // sorting by number are the same.
    const ITEMS_MAX: usize = 10;
    !table.is_empty()
        && table.len() <= ITEMS_MAX
        && table.keys().zip(0..).all(|(key, i)| *key == i.to_string())
}

struct ItemAccess {
    path: KeyPath,
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
}

impl ItemAccess {
    fn new(items: Vec<Node>, path: KeyPath) -> Self {
        let items = items.into_iter().enumerate();
        Self { path, items }
    }
}

impl<'de> SeqAccess<'de> for ItemAccess {
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

struct FieldAccess {
    path: KeyPath,
    fields: std::collections::btree_map::IntoIter<String, Node>,
    pending: Option<(String, Node)>,
}

impl FieldAccess {
    fn new(keys: Table, path: KeyPath) -> Self {
        Self {
            path,
            fields: keys.into_iter(),
            pending: None,
        }
    }
}

impl<'de> MapAccess<'de> for FieldAccess {
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
            None => Err(de::Error::custom("a value came without its key")),
        }
    }
}
