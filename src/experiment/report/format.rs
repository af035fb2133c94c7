//! Text of numbers and names on the page.

use crate::metrics::Interval;

/// Makes text safe inside HTML elements and quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// A share as percent with one decimal and a narrow no-break space.
pub fn percent(share: f64) -> String {
    // Adding 0 turns −0 into 0.
    format!("{:.1}\u{202f}%", 100.0 * share + 0.0)
}

/// Three decimals.
pub fn decimal(value: f64) -> String {
    format!("{:.3}", value + 0.0)
}

/// "a to b" with the given format of the ends.
pub fn interval_text(interval: &Interval, number: fn(f64) -> String) -> String {
    format!("{} to {}", number(interval.lower), number(interval.upper))
}

/// "a–b" for table cells, with the percent sign once.
pub fn interval_cell(interval: &Interval, number: fn(f64) -> String) -> String {
    let (lower, upper) = (number(interval.lower), number(interval.upper));
    format!("{}–{upper}", lower.strip_suffix("\u{202f}%").unwrap_or(&lower))
}

/// A p-value.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "below 0.001".into() } else { format!("{p:.3}") }
}

/// A whole number with thin spaces between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        // Four-digit numbers are easier to read unbroken.
        if digits.len() > 4 && i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// A duration.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    if seconds < 10.0 {
        format!("{seconds:.1}\u{a0}s")
    } else if whole < 120 {
        format!("{whole}\u{a0}s")
    } else if whole < 7_200 {
        format!("{}\u{a0}min {}\u{a0}s", whole / 60, whole % 60)
    } else {
        format!("{}\u{a0}h {}\u{a0}min", whole / 3_600, whole % 3_600 / 60)
    }
}

/// Any other number: integers whole, the rest with four significant digits and no trailing zeros.
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return if value < 0.0 { format!("−{}", count((-value) as u64)) } else { count(value as u64) };
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let text = format!("{value:.*}", (3.0 - magnitude).max(0.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        for (value, text) in [
            (0.05, "0.05"),
            (1e-5, "1e-5"),
            (0.2, "0.2"),
            (1234.56, "1235"),
            (-3.0, "−3"),
            (12345.0, "12\u{202f}345"),
            (2.5e-7, "2.5e-7"),
            (0.8001, "0.8001"),
            (100.04, "100"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((percent(-0.0).as_str(), percent(0.7055).as_str()), ("0.0\u{202f}%", "70.5\u{202f}%"));
        assert_eq!((duration(3.12), duration(187.4)), ("3.1\u{a0}s".into(), "3\u{a0}min 7\u{a0}s".into()));
        assert_eq!(duration(7_260.0), "2\u{a0}h 1\u{a0}min");
        assert_eq!(count(9_999), "9999");
    }
}
