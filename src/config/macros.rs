//! The `config!` macro.

/// Declares a type that a scenario file can hold, and from the same words its reader, its JSON
/// Schema and its documentation.
///
/// A struct is a table. A field may have a default (`= value`), which makes it optional in the
/// file, and a limit (`=> range`). A trailing `check path;` names a
/// `fn(&Self, &Value, &mut Problems)` for what concerns several fields.
///
/// An enum is externally tagged: a case without content is written `"name"`, one with content
/// `{ name = content }`.
///
/// ```
/// use stormglass::config;
/// use stormglass::kernel::time::SimDuration;
///
/// config! {
///     /// A lease.
///     pub struct Lease {
///         /// How long it lasts.
///         pub ttl: SimDuration = SimDuration::from_secs(10),
///         /// How many tries a client makes.
///         pub tries: u32 = 3 => 1..=1000,
///     }
/// }
///
/// config! {
///     /// How a client waits.
///     pub enum Wait {
///         /// It asks again and again.
///         "poll" => Poll(SimDuration),
///         /// It is told.
///         "notify" => Notify,
///     }
/// }
/// ```
#[macro_export]
macro_rules! config {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field_vis:vis $field:ident : $ty:ty $(= $default:expr)? $(=> $range:expr)?
            ),* $(,)?
        }
        $(check $check:path;)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $field_doc])* $field_vis $field: $ty, )*
        }

        impl $crate::config::Config for $name {
            #[allow(unused_variables, clippy::unnecessary_lazy_evaluations)]
            fn read(
                value: &$crate::config::Value,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let fields = $crate::config::Fields::of(value, problems)?;
                $(
                    let $field: Option<$ty> =
                        $crate::config!(@read fields, problems, $field $(, $default)?);
                    $(
                        let $field = $field.and_then(|found| $crate::config::within(
                            found, &($range), fields.place_of($crate::config::bare(stringify!($field))), problems,
                        ));
                    )?
                )*
                fields.finish(&[$($crate::config::bare(stringify!($field))),*], problems);
                let this = Self { $( $field: $field? ),* };
                $(
                    let before = problems.len();
                    $check(&this, value, problems);
                    if before < problems.len() {
                        return None;
                    }
                )?
                Some(this)
            }

            fn schema() -> ::serde_json::Value {
                $crate::config::schema_of_struct(
                    concat!($($doc),*).trim(),
                    vec![$((
                        $crate::config::bare(stringify!($field)),
                        concat!($($field_doc),*).trim(),
                        <$ty as $crate::config::Config>::schema(),
                        $crate::config!(@default $ty $(, $default)?),
                    )),*],
                )
            }

            fn write(&self) -> ::serde_json::Value {
                #[allow(unused_mut)]
                let mut table = ::serde_json::Map::new();
                $( table.insert(
                    $crate::config::bare(stringify!($field)).into(),
                    <$ty as $crate::config::Config>::write(&self.$field),
                ); )*
                ::serde_json::Value::Object(table)
            }
        }
    };

    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $(
                $(#[doc = $case_doc:literal])*
                $tag:literal => $case:ident $(($ty:ty))?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name {
            $( $(#[doc = $case_doc])* $case $(($ty))?, )*
        }

        impl $crate::config::Config for $name {
            fn read(
                value: &$crate::config::Value,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let case = $crate::config::Case::of(value, &[$($tag),*], problems)?;
                match case.tag {
                    $( $tag => $crate::config!(@case case, problems, $case $(, $ty)?), )*
                    _ => unreachable!("a case that was read is one of those declared"),
                }
            }

            fn schema() -> ::serde_json::Value {
                ::serde_json::json!({
                    "description": concat!($($doc),*).trim(),
                    "oneOf": [$(
                        $crate::config!(@case_schema concat!($($case_doc),*).trim(), $tag $(, $ty)?)
                    ),*],
                })
            }

            fn write(&self) -> ::serde_json::Value {
                match self {
                    $( $crate::config!(@case_pattern content, $case $(, $ty)?) =>
                        $crate::config!(@case_write content, $tag $(, $ty)?), )*
                }
            }
        }
    };

    (@read $fields:ident, $problems:ident, $field:ident, $default:expr) => {
        $fields.optional($crate::config::bare(stringify!($field)), || $default, $problems)
    };
    (@read $fields:ident, $problems:ident, $field:ident) => {
        $fields.required($crate::config::bare(stringify!($field)), $problems)
    };
    (@default $ty:ty, $default:expr) => {
        Some(<$ty as $crate::config::Config>::write(&$default))
    };
    (@default $ty:ty) => { None };
    (@case $found:ident, $problems:ident, $case:ident, $ty:ty) => {
        $found.content::<$ty>($problems).map(Self::$case)
    };
    (@case $found:ident, $problems:ident, $case:ident) => {
        $found.no_content($problems).map(|()| Self::$case)
    };
    (@case_schema $doc:expr, $tag:literal, $ty:ty) => {
        $crate::config::schema_of_case($doc, $tag, Some(<$ty as $crate::config::Config>::schema()))
    };
    (@case_schema $doc:expr, $tag:literal) => {
        $crate::config::schema_of_case($doc, $tag, None)
    };
    (@case_pattern $content:ident, $case:ident, $ty:ty) => { Self::$case($content) };
    (@case_pattern $content:ident, $case:ident) => { Self::$case };
    (@case_write $content:ident, $tag:literal, $ty:ty) => {
        ::serde_json::json!({ $tag: <$ty as $crate::config::Config>::write($content) })
    };
    (@case_write $content:ident, $tag:literal) => { ::serde_json::Value::from($tag) };
}
