//! Decimal numbers with a unit, read exactly: no float on the way.

/// Splits `12.5ms` into the digits before the point, those after it, and the unit.
pub(crate) fn split_quantity(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = !whole.is_empty() && !fraction.contains('.');
    is_number.then_some((whole, fraction, unit.trim_start()))
}

/// `whole.fraction` times `scale`, exactly; `None` where it does not come out whole or too large.
pub(crate) fn scaled(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    let mut total = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut scale = scale;
    for digit in fraction.bytes() {
        let digit = u64::from(digit - b'0');
        if !scale.is_multiple_of(10) {
            return (digit == 0).then_some(total);
        }
        scale /= 10;
        total = total.checked_add(digit * scale)?;
    }
    Some(total)
}
