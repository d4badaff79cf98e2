//! How a subscriber wants its events: format, coding, and how much of them.

use super::piece::Coding;

/// How a subscriber wants its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// SSE, the body as data.
    Raw,
    /// SSE, a CloudEvents 1.0 JSON object as data.
    CloudEvents,
    /// One CloudEvents 1.0 JSON object per line (`application/x-ndjson`).
    NdJson,
    /// The body per line, as JSON: what is not JSON is a string.
    RawNdJson,
    /// SSE, the delivery as it came as data: for those who may have that.
    Delivery,
    /// The same, one per line.
    DeliveryLines,
    /// SSE, the delivery as smee's clients read it.
    Smee,
    /// SSE, the delivery as gosmee's client reads it.
    Gosmee,
}

impl Format {
    /// Whether this is newline-delimited JSON, and no SSE.
    #[must_use]
    pub fn is_lines(self) -> bool {
        matches!(self, Self::NdJson | Self::RawNdJson | Self::DeliveryLines)
    }

    /// Whether this shows deliveries as they came.
    #[must_use]
    pub fn shows_deliveries(self) -> bool {
        match self {
            Self::Raw | Self::CloudEvents | Self::NdJson | Self::RawNdJson => false,
            Self::Delivery | Self::DeliveryLines | Self::Smee | Self::Gosmee => true,
        }
    }

    /// In the order of their discriminants.
    pub(super) const ALL: [Self; 8] = [
        Self::Raw,
        Self::CloudEvents,
        Self::NdJson,
        Self::RawNdJson,
        Self::Delivery,
        Self::DeliveryLines,
        Self::Smee,
        Self::Gosmee,
    ];
}

/// All that two subscribers may want differently of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// How it is written.
    pub format: Format,
    /// How that is coded.
    pub coding: Coding,
    /// Whether bodies are whole, whatever their topics' views hide.
    pub full: bool,
    /// Whether types are the SSE event names; `None`: as the topics' views say.
    pub names: Option<bool>,
    /// An event whose data has more bytes is told of in its place; at most
    /// [`Form::DATA_BYTES_UNBOUNDED`].
    pub data_bytes_max: u32,
}

impl Form {
    /// No event is longer.
    pub const DATA_BYTES_UNBOUNDED: u32 = u32::MAX;

    /// SSE as it is, as the views say, without a bound.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self {
        format: Format::Raw,
        coding: Coding::Identity,
        full: false,
        names: None,
        data_bytes_max: Self::DATA_BYTES_UNBOUNDED,
    };

    /// SSE of two formats, each with names or without, and two kinds of lines, which have
    /// none.
    const TEXTS_COUNT: usize = 6;
    pub(super) const COUNT: usize = 2 * Self::TEXTS_COUNT * Coding::COUNT;
    /// Those that show deliveries, none of them with names.
    pub(super) const DELIVERIES_COUNT: usize = 2 * 4 * Coding::COUNT;

    /// The place of this form's encoding among all of its kind, were it `full` or not, and
    /// named or not.
    pub(super) fn index_if(self, full: bool, named: bool) -> usize {
        let text = match self.format {
            Format::Raw | Format::CloudEvents => 2 * self.format as usize + usize::from(named),
            Format::NdJson => 4,
            Format::RawNdJson => 5,
            other => other as usize - Format::Delivery as usize,
        };
        let written = text * Coding::COUNT + self.coding as usize;
        2 * written + usize::from(full)
    }
}

/// A form in five bytes: every stream has one.
#[derive(Debug, Clone, Copy)]
pub struct PackedForm {
    data_bytes_max: [u8; 4],
    /// Three bits of the format, one of the coding, one of `full`, two of the names.
    bits: u8,
}

impl From<Form> for PackedForm {
    fn from(form: Form) -> Self {
        let names = form.names.map_or(0, |named| 1 + u8::from(named));
        let full = u8::from(form.full);
        Self {
            data_bytes_max: form.data_bytes_max.to_ne_bytes(),
            bits: form.format as u8 | (form.coding as u8) << 3 | full << 4 | names << 5,
        }
    }
}

impl From<PackedForm> for Form {
    fn from(packed: PackedForm) -> Self {
        let bits = packed.bits;
        Self {
            format: Format::ALL[usize::from(bits & 7)],
            coding: if bits & 8 == 0 {
                Coding::Identity
            } else {
                Coding::Gzip
            },
            full: bits & 16 != 0,
            names: (bits >> 5 != 0).then_some(bits >> 5 == 2),
            data_bytes_max: u32::from_ne_bytes(packed.data_bytes_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_form_is_the_same_form_and_small() {
        for (n, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, n);
            for coding in [Coding::Identity, Coding::Gzip] {
                for (full, names) in [(false, None), (true, Some(false)), (false, Some(true))] {
                    let form = Form {
                        format,
                        coding,
                        full,
                        names,
                        data_bytes_max: 0x0102_0304,
                    };
                    assert_eq!(Form::from(PackedForm::from(form)), form);
                }
            }
        }
        assert_eq!(size_of::<PackedForm>(), 5);
    }
}
