//! One reading of a part of the tree by serde, which finds the key that an error
//! is about, and says it in words of our own.
//!
//! Invariant: no text of serde's reaches a finding, and no value that was read
//! through `env:` or `file:`.

use std::{cell::RefCell, fmt, ops::RangeInclusive};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
    value::{StrDeserializer, StringDeserializer},
};

use super::{
    diagnostic::{KeyPath, Location},
    hints,
    tree::{Node, Table, TreeValue},
    values,
};

/// What is wrong with a part of the tree.
pub(super) struct Finding {
    /// The key that it is about.
    pub(super) path: KeyPath,
    pub(super) location: Location,
    /// `None` where it only follows from what another finding is about.
    pub(super) message: Option<String>,
    /// What has to be left out to find what else is wrong.
    pub(super) leave_out: KeyPath,
    /// Whether it is about a key that there is not, without which all may be good.
    pub(super) is_unknown_key: bool,
}

/// Collects the findings of one reading.
#[derive(Default)]
pub(super) struct Findings(RefCell<Vec<Finding>>);

/// Why a reading has ended.
#[derive(Debug)]
pub(super) enum ReadingError {
    /// A finding says it.
    Found,
    /// A value is wrong, and the node that has it can tell which it is.
    Value(ValueError),
}

/// What serde says of a value, or of a section.
#[derive(Debug)]
pub(super) enum ValueError {
    /// It must have this form.
    Form(String),
    /// A key is missing.
    Missing(&'static str),
    /// A sentence of one of our own types.
    Said(String),
}

impl Findings {
    /// Deserializes a node, which is at `path`.
    ///
    /// # Errors
    ///
    /// Where the value can't be made; the findings say why.
    pub(super) fn deserialize<T: DeserializeOwned>(
        &self,
        node: Node,
        path: &KeyPath,
    ) -> Result<T, ReadingError> {
        T::deserialize(self.node(node, path.clone()))
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        self.0.into_inner()
    }

    fn node(&self, node: Node, path: KeyPath) -> NodeDeserializer<'_> {
        NodeDeserializer {
            node,
            path,
            findings: self,
        }
    }

    fn add(&self, path: KeyPath, location: Location, message: impl Into<String>) -> ReadingError {
        self.0.borrow_mut().push(Finding {
            leave_out: path.clone(),
            path,
            location,
            message: Some(message.into()),
            is_unknown_key: false,
        });
        ReadingError::Found
    }
}

impl de::Error for ReadingError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Value(ValueError::Said(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Value(ValueError::Form(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Value(ValueError::Form(expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::Value(ValueError::Form(expected.to_string()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Value(ValueError::Missing(field))
    }
}

impl fmt::Display for ReadingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value can't be read")
    }
}

impl std::error::Error for ReadingError {}

/// Deserializes a node at its path.
#[derive(Clone)]
struct NodeDeserializer<'r> {
    node: Node,
    path: KeyPath,
    findings: &'r Findings,
}

impl NodeDeserializer<'_> {
    /// Gives the value to serde. Where that fails, finds out what to say of it.
    fn visit<T>(
        self,
        visit: impl FnOnce(Self) -> Result<T, ReadingError>,
    ) -> Result<T, ReadingError> {
        let whole = self.clone();
        visit(self).map_err(|interruption| match interruption {
            ReadingError::Found => ReadingError::Found,
            ReadingError::Value(error) => whole.explain(error),
        })
    }

    /// Makes a finding of an error about this node.
    fn explain(self, error: ValueError) -> ReadingError {
        let is_secret = matches!(self.node.value, TreeValue::Untyped { secret: true, .. });
        let message = match error {
            ValueError::Said(_) if is_secret => {
                "the value that env: or file: refers to is not valid here".to_owned()
            }
            ValueError::Said(text) => text,
            ValueError::Form(form) => values::not_a(&self.node.value, &form).message,
            ValueError::Missing(key) => return self.explain_missing(key),
        };
        self.refuse(message)
    }

    /// A key that is missing because it is wrong has a finding of its own.
    fn explain_missing(self, key: &'static str) -> ReadingError {
        let follows = match &self.node.value {
            TreeValue::Table(table) => table.iter().any(|(written, node)| {
                let is_invalid = matches!(node.value, TreeValue::Invalid);
                (written == key && is_invalid) || self.is_misspelt(written, key)
            }),
            _ => false,
        };
        self.findings.0.borrow_mut().push(Finding {
            path: self.path.key(key),
            location: self.node.location,
            message: (!follows).then(|| "must be set".to_owned()),
            leave_out: self.path,
            is_unknown_key: false,
        });
        ReadingError::Found
    }

    /// Whether this reading has found that `written` is no key, and it was meant to be
    /// `key`.
    fn is_misspelt(&self, written: &str, key: &str) -> bool {
        let path = self.path.key(written);
        let findings = self.findings.0.borrow();
        findings.iter().any(|finding| finding.path == path)
            && hints::nearest(written, &[key]).is_some()
    }

    /// Gives this node to a type. What the type says of a value is about this node.
    fn seed<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadingError> {
        self.visit(|this| seed.deserialize(this))
    }

    fn refuse(self, message: impl Into<String>) -> ReadingError {
        self.findings.add(self.path, self.node.location, message)
    }

    fn refuse_form(self, form: &str) -> ReadingError {
        let message = values::not_a(&self.node.value, form).message;
        self.refuse(message)
    }

    /// This node is bad because a part of it is, which has a finding already.
    fn follow(self) -> ReadingError {
        self.findings.0.borrow_mut().push(Finding {
            leave_out: self.path.clone(),
            path: self.path,
            location: self.node.location,
            message: None,
            is_unknown_key: false,
        });
        ReadingError::Found
    }

    /// The text, where this is one.
    fn text(&self) -> Option<&str> {
        match &self.node.value {
            TreeValue::Text(text) | TreeValue::Untyped { text, .. } => Some(text),
            _ => None,
        }
    }

    fn integer<T>(
        self,
        allowed: RangeInclusive<i64>,
        visit: impl FnOnce(i64) -> Result<T, ReadingError>,
    ) -> Result<T, ReadingError> {
        let form = format!(
            "a whole number from {} to {}, without quotes",
            allowed.start(),
            allowed.end()
        );
        let number = match &self.node.value {
            TreeValue::Integer(number) => Some(*number),
            TreeValue::Untyped { text, .. } => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => self.visit(|_| visit(number)),
            None => Err(self.refuse_form(&form)),
        }
    }

    /// Reports the keys of a table that are not among `known`, and removes what a
    /// finding is about from it.
    fn check_keys(&self, table: Table, known: &[&'static str]) -> Table {
        let mut good = Table::new();
        for (key, node) in table {
            if matches!(node.value, TreeValue::Invalid) {
                continue;
            }
            if known.contains(&&*key) {
                good.insert(key, node);
                continue;
            }
            let hint = hints::did_you_mean(&key, known);
            let path = self.path.key(&key);
            self.findings.0.borrow_mut().push(Finding {
                leave_out: path.clone(),
                path,
                location: node.location,
                message: Some(format!("there is no such key{hint}")),
                is_unknown_key: true,
            });
        }
        good
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = ReadingError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.visit(|this| match this.node.value {
            TreeValue::Text(text) | TreeValue::Untyped { text, .. } => visitor.visit_string(text),
            TreeValue::Integer(integer) => visitor.visit_i64(integer),
            TreeValue::Boolean(boolean) => visitor.visit_bool(boolean),
            TreeValue::List(_) => visitor.visit_seq(ItemAccess::new(this)?),
            TreeValue::Table(ref table) if is_indexed_list(table) => {
                visitor.visit_seq(ItemAccess::new(this)?)
            }
            TreeValue::Table(table) => {
                visitor.visit_map(FieldAccess::new(table, this.path, this.findings))
            }
            TreeValue::Unsupported(form) => {
                Err(de::Error::custom(format_args!("{form} is not valid here")))
            }
            TreeValue::Invalid => Err(ReadingError::Found),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        match values::boolean(&self.node.value) {
            Ok(boolean) => self.visit(|_| visitor.visit_bool(boolean)),
            Err(mistake) => Err(self.refuse(mistake.message)),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.integer(0..=i64::from(u8::MAX), |number| visitor.visit_i64(number))
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.integer(0..=i64::from(u16::MAX), |number| visitor.visit_i64(number))
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.integer(0..=i64::from(u32::MAX), |number| visitor.visit_i64(number))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.integer(0..=i64::MAX, |number| visitor.visit_i64(number))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.integer(i64::MIN..=i64::MAX, |number| visitor.visit_i64(number))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        match self.text() {
            Some(_) => self.deserialize_any(visitor),
            None => Err(self.refuse_form("a string in quotes")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadingError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        self.visit(|this| visitor.visit_seq(ItemAccess::new(this)?))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadingError> {
        match self.node.value {
            TreeValue::Table(_) => self.visit(|this| match this.node.value {
                TreeValue::Table(table) => {
                    visitor.visit_map(FieldAccess::new(table, this.path, this.findings))
                }
                _ => Err(ReadingError::Found),
            }),
            _ => Err(self.refuse_form("a section with keys of its own")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadingError> {
        let TreeValue::Table(table) = &self.node.value else {
            let first = fields.first().unwrap_or(&"key");
            let form = format!("a section, such as {{ {first} = … }}");
            return Err(self.refuse_form(&form));
        };
        let good = self.check_keys(table.clone(), fields);
        self.visit(|this| visitor.visit_map(FieldAccess::new(good, this.path, this.findings)))
    }

    /// A word, or a section with a single key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadingError> {
        let form = format!("one of {}", words.join(", "));
        if let Some(text) = self.text() {
            let Some(word) = words.iter().find(|word| **word == text) else {
                let hint = match &self.node.value {
                    TreeValue::Untyped { secret: true, .. } => String::new(),
                    _ => hints::did_you_mean(text, words),
                };
                let message = values::not_a(&self.node.value, &form).message;
                return Err(self.refuse(message + &hint));
            };
            return self.visit(|_| visitor.visit_enum(WordAccess(word)));
        }
        let TreeValue::Table(table) = &self.node.value else {
            return Err(self.refuse_form(&form));
        };
        let written = table.len();
        let mut good = self.check_keys(table.clone(), words).into_iter();
        match (good.next(), good.next()) {
            (Some((key, node)), None) => self.visit(|this| {
                let node = this.findings.node(node, this.path.key(&key));
                visitor.visit_enum(KeyAccess { key, node })
            }),
            (None, _) if written > 0 => Err(self.follow()),
            _ => Err(self.refuse(format!("must have exactly {form} as its key"))),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 f64 char bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// Whether the environment has written a list here.
fn is_indexed_list(table: &Table) -> bool {
    let node = Node {
        value: TreeValue::Table(table.clone()),
        location: Location::Default,
    };
    !table.is_empty() && node.items().is_ok()
}

/// The items of a list, without those that a finding is about.
struct ItemAccess<'r> {
    path: KeyPath,
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
    findings: &'r Findings,
}

impl<'r> ItemAccess<'r> {
    fn new(list: NodeDeserializer<'r>) -> Result<Self, ReadingError> {
        let NodeDeserializer {
            node,
            path,
            findings,
        } = list;
        let location = node.location.clone();
        match node.items() {
            Ok(items) => Ok(Self {
                path,
                items: items.into_iter().enumerate(),
                findings,
            }),
            Err(message) => Err(findings.add(path, location, message)),
        }
    }
}

impl<'de> SeqAccess<'de> for ItemAccess<'_> {
    type Error = ReadingError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadingError> {
        let is_good = |(_, item): &(usize, Node)| !matches!(item.value, TreeValue::Invalid);
        let Some((index, item)) = self.items.find(is_good) else {
            return Ok(None);
        };
        let item = self.findings.node(item, self.path.item(index));
        item.seed(seed).map(Some)
    }
}

/// The fields of a section, without those that a finding is about.
struct FieldAccess<'r> {
    path: KeyPath,
    fields: std::collections::btree_map::IntoIter<String, Node>,
    pending: Option<(String, Node)>,
    findings: &'r Findings,
}

impl<'r> FieldAccess<'r> {
    fn new(keys: Table, path: KeyPath, findings: &'r Findings) -> Self {
        Self {
            path,
            fields: keys.into_iter(),
            pending: None,
            findings,
        }
    }
}

impl<'de> MapAccess<'de> for FieldAccess<'_> {
    type Error = ReadingError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadingError> {
        let is_good = |(_, node): &(String, Node)| !matches!(node.value, TreeValue::Invalid);
        let Some((key, node)) = self.fields.find(is_good) else {
            return Ok(None);
        };
        let deserializer: StringDeserializer<ReadingError> = key.clone().into_deserializer();
        self.pending = Some((key, node));
        seed.deserialize(deserializer).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ReadingError> {
        match self.pending.take() {
            Some((key, node)) => {
                let path = self.path.key(&key);
                self.findings.node(node, path).seed(seed)
            }
            None => Err(de::Error::custom("a value came without its key")),
        }
    }
}

/// A word that stands alone.
struct WordAccess(&'static str);

impl<'de> EnumAccess<'de> for WordAccess {
    type Error = ReadingError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ReadingError> {
        let word: StrDeserializer<'_, ReadingError> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl WordAccess {
    fn needs_value(&self) -> ReadingError {
        let word = self.0;
        de::Error::custom(format_args!(
            "\"{word}\" needs a value: write {{ {word} = … }}"
        ))
    }
}

impl<'de> VariantAccess<'de> for WordAccess {
    type Error = ReadingError;

    fn unit_variant(self) -> Result<(), ReadingError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ReadingError> {
        Err(self.needs_value())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadingError> {
        Err(self.needs_value())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadingError> {
        Err(self.needs_value())
    }
}

/// A key with its value.
struct KeyAccess<'r> {
    key: String,
    node: NodeDeserializer<'r>,
}

impl<'de, 'r> EnumAccess<'de> for KeyAccess<'r> {
    type Error = ReadingError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ReadingError> {
        let key: StringDeserializer<ReadingError> = self.key.clone().into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de> VariantAccess<'de> for KeyAccess<'_> {
    type Error = ReadingError;

    fn unit_variant(self) -> Result<(), ReadingError> {
        let message = format!("has no value: write \"{}\" alone", self.key);
        Err(self.node.refuse(message))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ReadingError> {
        self.node.seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadingError> {
        self.node.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadingError> {
        self.node.deserialize_struct("", fields, visitor)
    }
}
