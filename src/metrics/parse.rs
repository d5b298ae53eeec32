//! Building blocks of the parsers for `/proc`. They work on bytes, because a mount point or a device name need not be
//! UTF-8. A parser skips a line that it cannot parse and uses the others.

use memchr::{memchr, memchr_iter};

/// The lines of a file, without their line ends; empty lines are left out.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..end)?;
            rest = rest.get(end + 1..).unwrap_or_default();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

/// The fields of a line, separated by any run of blanks.
pub fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| b.is_ascii_whitespace()).filter(|field| !field.is_empty())
}

/// A decimal number without sign; `None` for anything else, and for a number that does not fit 64 bits.
#[must_use]
pub fn number(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal number with or without a fraction, as `/proc` writes load and uptime: no sign, no exponent, no infinity.
#[must_use]
pub fn decimal(field: &[u8]) -> Option<f64> {
    if !field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A hexadecimal number of up to 32 bits, without sign.
#[must_use]
pub fn hexadecimal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok().filter(|text| !text.starts_with('+'))?;
    u32::from_str_radix(text, 16).ok().map(u64::from)
}

/// The number in the next field of a line.
pub fn next_number<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    number(fields.next()?)
}

/// Text for an attribute: bytes that are not UTF-8 become the replacement character.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Undoes the octal escapes (`\040` for a blank) with which the kernel writes paths into its tables.
#[must_use]
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (first, tail) {
            out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// The number of the field `total=` that begins here. No other field of a pressure file has a `t`, so that searching for it is
/// cheaper than splitting the line; every cgroup has three such files.
fn total(line: &[u8], at: usize) -> Option<u64> {
    let begins = line.get(at.checked_sub(1)?)?.is_ascii_whitespace();
    let value = line.get(at..)?.strip_prefix(b"total=").filter(|_| begins)?;
    number(value.split(u8::is_ascii_whitespace).next()?)
}

/// The totals of the lines `some` and `full` of a pressure file, in microseconds. The first good line of a kind counts.
#[must_use]
pub fn pressure(bytes: &[u8]) -> [Option<u64>; 2] {
    let [mut some, mut full] = [None; 2];
    for line in lines(bytes) {
        let slot = match fields(line).next() {
            Some(b"some") => &mut some,
            Some(b"full") => &mut full,
            _ => continue,
        };
        if slot.is_none() {
            *slot = memchr_iter(b't', line).find_map(|at| total(line, at));
        }
    }
    [some, full]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"-1", b"+1", b"1x", b"0x10", b" 1"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_decimal_is_digits_with_at_most_one_point() {
        assert_eq!(decimal(b"864213.47"), Some(864_213.47));
        assert_eq!(decimal(b"7"), Some(7.0));
        for bad in [&b""[..], b".", b"1.2.3", b"-1.0", b"1e5", b"inf", b"nan", b"0x1", &[b'9'; 400]] {
            assert_eq!(decimal(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn octal_escapes_are_undone_and_odd_ones_kept() {
        assert_eq!(unescape(br"/mnt/a\040b\134c"), br"/mnt/a b\c");
        assert_eq!(unescape(br"/bad\9\04\777"), br"/bad\9\04\777");
    }

    proptest! {
        #[test]
        fn lines_are_the_parts_between_line_ends(bytes in "[ab\n]{0,40}") {
            let expected: Vec<&[u8]> = bytes.as_bytes().split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(lines(bytes.as_bytes()).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn a_number_parses_as_the_standard_library_does(field in "[0-9]{0,22}") {
            prop_assert_eq!(number(field.as_bytes()), field.parse::<u64>().ok());
        }

        #[test]
        fn a_pressure_total_is_the_first_good_one_of_the_fields(rest in "([ \t]{1,2}(total=[0-9x]{0,3}|total|avg10=0.00|t)){0,6}") {
            let line = format!("some{rest}");
            let expected = fields(line.as_bytes()).find_map(|field| number(field.strip_prefix(b"total=")?));
            prop_assert_eq!(pressure(line.as_bytes()), [expected, None]);
        }

        #[test]
        fn unescape_takes_any_bytes(bytes: Vec<u8>) {
            prop_assert!(unescape(&bytes).len() <= bytes.len());
        }
    }
}
