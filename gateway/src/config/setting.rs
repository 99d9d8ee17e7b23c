//! The types that a key can have: how each is read from TOML, what it takes, how it is written.

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::DeValue;

/// What is wrong with a text, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) what: String,
    pub(super) right: String,
}

impl Mistake {
    pub(super) fn new(what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { what: what.into(), right: right.into() }
    }
}

/// What is wrong with a value, at an offset of the file. Without `right` the advice is what the
/// key takes.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: String,
    pub(super) right: Option<String>,
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// What a value must satisfy beyond its type: a range for numbers, nothing for the others.
    type Bounds;

    /// Reads a value, or tells everything that is wrong with it.
    fn read(value: &Spanned<DeValue<'_>>, bounds: &Self::Bounds) -> Result<Self, Vec<Wrong>>;

    /// What the key takes, in words that follow "write".
    fn expected(bounds: &Self::Bounds) -> String;

    /// The value as it would stand in a file.
    fn toml(&self) -> String;
}

/// A type that is written as a TOML string. Its `Display` is that string.
pub(super) trait Word: Sized + Display {
    fn parse(text: &str) -> Result<Self, Mistake>;
    fn expected() -> String;
}

impl<T: Word> Setting for T {
    type Bounds = ();

    fn read(value: &Spanned<DeValue<'_>>, (): &()) -> Result<Self, Vec<Wrong>> {
        let text = value.get_ref().as_str().ok_or_else(|| wrong_type(value))?;
        Self::parse(text).map_err(|mistake| {
            vec![Wrong { at: value.span().start, what: mistake.what, right: Some(mistake.right) }]
        })
    }

    fn expected((): &()) -> String {
        T::expected()
    }

    fn toml(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Setting for bool {
    type Bounds = ();

    fn read(value: &Spanned<DeValue<'_>>, (): &()) -> Result<Self, Vec<Wrong>> {
        value.get_ref().as_bool().ok_or_else(|| wrong_type(value))
    }

    fn expected((): &()) -> String {
        "true or false".into()
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer_settings {
    ($($Integer:ty),+) => {$(
        impl Setting for $Integer {
            type Bounds = RangeInclusive<Self>;

            fn read(
                value: &Spanned<DeValue<'_>>,
                bounds: &Self::Bounds,
            ) -> Result<Self, Vec<Wrong>> {
                let integer = value.get_ref().as_integer().ok_or_else(|| wrong_type(value))?;
                Self::from_str_radix(integer.as_str(), integer.radix())
                    .ok()
                    .filter(|number| bounds.contains(number))
                    .ok_or_else(|| {
                        let what = format!("{} is out of bounds", clip(&integer.to_string()));
                        vec![Wrong { at: value.span().start, what, right: None }]
                    })
            }

            fn expected(bounds: &Self::Bounds) -> String {
                format!("an integer from {} to {}", bounds.start(), bounds.end())
            }

            fn toml(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

integer_settings!(u8, u16, u32, u64);

/// A key that may be absent; its default is told in words.
impl<T: Setting> Setting for Option<T> {
    type Bounds = T::Bounds;

    fn read(value: &Spanned<DeValue<'_>>, bounds: &Self::Bounds) -> Result<Self, Vec<Wrong>> {
        T::read(value, bounds).map(Some)
    }

    fn expected(bounds: &Self::Bounds) -> String {
        T::expected(bounds)
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| "none".into(), T::toml)
    }
}

/// A list; one value alone is a list of one.
impl<T: Setting> Setting for Vec<T> {
    type Bounds = T::Bounds;

    fn read(value: &Spanned<DeValue<'_>>, bounds: &Self::Bounds) -> Result<Self, Vec<Wrong>> {
        let Some(array) = value.get_ref().as_array() else {
            return T::read(value, bounds).map(|one| vec![one]);
        };
        let (mut list, mut wrongs) = (Self::new(), Vec::new());
        for element in array.iter() {
            match T::read(element, bounds) {
                Ok(good) => list.push(good),
                Err(more) => wrongs.extend(more),
            }
        }
        if wrongs.is_empty() { Ok(list) } else { Err(wrongs) }
    }

    fn expected(bounds: &Self::Bounds) -> String {
        format!("{}, or a list of such", T::expected(bounds))
    }

    fn toml(&self) -> String {
        let elements: Vec<String> = self.iter().map(T::toml).collect();
        format!("[{}]", elements.join(", "))
    }
}

/// A value with its place in the file, for what can only be judged beside other keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<T: Setting> Setting for At<T> {
    type Bounds = T::Bounds;

    fn read(value: &Spanned<DeValue<'_>>, bounds: &Self::Bounds) -> Result<Self, Vec<Wrong>> {
        let at = value.span().start;
        T::read(value, bounds).map(|value| Self { value, at })
    }

    fn expected(bounds: &Self::Bounds) -> String {
        T::expected(bounds)
    }

    fn toml(&self) -> String {
        self.value.toml()
    }
}

/// A value of another type than the key takes.
fn wrong_type(value: &Spanned<DeValue<'_>>) -> Vec<Wrong> {
    vec![Wrong { at: value.span().start, what: describe(value.get_ref()), right: None }]
}

/// A value and its type, in words.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\" is a string", clip(text)),
        DeValue::Integer(number) => format!("{} is an integer", clip(&number.to_string())),
        DeValue::Float(number) => format!("{} is a float", clip(&number.to_string())),
        DeValue::Boolean(truth) => format!("{truth} is a boolean"),
        DeValue::Datetime(date) => format!("{date} is a date or time"),
        DeValue::Array(_) => "this is a list".into(),
        DeValue::Table(_) => "this is a table".into(),
    }
}

/// At most 60 characters of a text from a file, fit for one line.
pub(super) fn clip(text: &str) -> String {
    let line = text.escape_debug().collect::<String>().replace("\\'", "'");
    if line.chars().count() <= 60 {
        return line;
    }
    line.chars().take(57).chain("...".chars()).collect()
}

/// `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Declares an enum whose variants are words in the file.
macro_rules! choices {
    ($(#[$meta:meta])* $vis:vis enum $Name:ident {
        $($(#[$about:meta])* $Variant:ident = $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $Name {
            $($(#[$about])* $Variant,)+
        }

        impl $Name {
            /// The words that stand for the variants, in their order.
            $vis const WORDS: &[&str] = &[$($word),+];
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$Variant => $word,)+ })
            }
        }

        impl std::str::FromStr for $Name {
            /// What would be right.
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$Variant),)+
                    _ => Err(format!("write {}", $crate::config::setting::one_of(Self::WORDS))),
                }
            }
        }

        impl $crate::config::setting::Word for $Name {
            fn parse(text: &str) -> Result<Self, $crate::config::setting::Mistake> {
                text.parse().map_err(|right: String| {
                    let what =
                        format!("\"{}\" is not known here", $crate::config::setting::clip(text));
                    $crate::config::setting::Mistake::new(what, right)
                })
            }

            fn expected() -> String {
                $crate::config::setting::one_of(Self::WORDS)
            }
        }
    };
}

pub(super) use choices;
